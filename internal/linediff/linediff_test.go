// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package linediff

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOf(t *testing.T) {
	for _, tt := range []struct{ before, after, want string }{
		{"", "", ""},
		{"a\n", "a\n", ""},
		{"", "a\n", "+a"},
		{"a\nb\n", "", "-a|-b"},
		{"a\nb\nc\nd\ne\n", "a\nb\nc\nx\ne\n", " b| c|-d|+x| e"},
		{"a\nb\nc\nd\ne\nf\ng\nh\n", "A\nb\nc\nd\ne\nf\ng\nH\n", "-a|+A| b| c|...| f| g|-h|+H"},
	} {
		if got := strings.Join(Of(tt.before, tt.after), "|"); got != tt.want {
			t.Errorf("%q -> %q: %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
}

// TestBothTextsAreThere takes the lines that go and come for what they say: of a
// text that is not shortened they make both texts again.
func TestBothTextsAreThere(t *testing.T) {
	text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "before"), text.Draw(t, "after")
		var before, after []string
		for _, line := range between(a, b) {
			if line[0] != '+' {
				before = append(before, line[1:])
			}
			if line[0] != '-' {
				after = append(after, line[1:])
			}
		}
		if strings.Join(before, "\n") != strings.Join(a, "\n") || strings.Join(after, "\n") != strings.Join(b, "\n") {
			t.Fatalf("%q -> %q: %q", a, b, between(a, b))
		}
	})
}

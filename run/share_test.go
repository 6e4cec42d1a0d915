// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import "testing"

func TestShare(t *testing.T) {
	for _, c := range []struct {
		text  string
		total int
		want  int
	}{
		{"1", 12, 1},
		{"3", 12, 3},
		{"30", 12, 30},
		{"10%", 12, 1},
		{"10%", 5, 1},
		{"10%", 1, 1},
		{"10%", 19, 1},
		{"10%", 20, 2},
		{"10%", 50, 5},
		{"34%", 3, 1},
		{"100%", 12, 12},
	} {
		s, err := ParseShare(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := s.Of(c.total); got != c.want {
			t.Errorf("%s of %d: got %d, want %d", c.text, c.total, got, c.want)
		}
		if s.String() != c.text {
			t.Errorf("%s is written as %s", c.text, s)
		}
	}
	for _, text := range []string{"", "%", "0", "0%", "-1", "-5%", "101%", "1000%", "ten", "10.5%", "10%%", "1 0", "+3", "+3%", "0x3", "99999999999999999999"} {
		if s, err := ParseShare(text); err == nil {
			t.Errorf("%q is taken for %s", text, s)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/report"
)

// TestDataOfAnyText: whatever a text holds, a document of it can be shown on a
// terminal, and read again as what it was.
func TestDataOfAnyText(t *testing.T) {
	var every strings.Builder
	for r := range rune(0x3100) {
		every.WriteRune(r)
	}
	for _, text := range []string{
		"", "plain", "<b>&amp;</b>", "a: b # c", "two\nlines\tand a tab", "\x1b[31mred\x1b]0;title\a", "\u009b31m", "\x7f",
		"\u202eback\u2066", "\ufeff", "\U000e0001", "\U0001f600", every.String(),
	} {
		want := map[string]string{"text": text}
		for format, read := range map[string]func([]byte, any) error{
			"json": json.Unmarshal,
			"yaml": func(b []byte, v any) error { return yaml.Unmarshal(b, v) },
		} {
			var b strings.Builder
			if err := report.WriteData(&b, format, want); err != nil {
				t.Errorf("%s of %q: %v", format, text, err)
				continue
			}
			if i := strings.IndexFunc(b.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
				t.Errorf("%s of %q has a control character at %d: %q", format, text, i, b.String())
			}
			got := map[string]string{}
			if err := read([]byte(b.String()), &got); err != nil || got["text"] != text {
				t.Errorf("%s of %q reads as %q, %v", format, text, got["text"], err)
			}
		}
	}
	if err := report.WriteData(&strings.Builder{}, "json", func() {}); err == nil {
		t.Error("a function was encoded")
	}
}

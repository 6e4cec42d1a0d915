// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"testing"
)

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		terminal     bool
		color        string
		noColor      string
		term         string
		live, colors bool
	}{
		{terminal: true, color: "auto", term: "xterm", live: true, colors: true},
		{terminal: false, color: "auto", term: "xterm"},
		{terminal: true, color: "auto", term: "dumb"},
		{terminal: true, color: "auto", term: "xterm", noColor: "1"},
		{terminal: true, color: "auto", term: "xterm", noColor: "0"},
		{terminal: true, color: "never", term: "xterm"},
		{terminal: true, color: "always", term: "xterm", noColor: "1", live: true, colors: true},
		{terminal: true, color: "always", term: "dumb", colors: true},
		{terminal: false, color: "always", term: "xterm", colors: true},
	} {
		live, colors, err := decide(c.terminal, c.color, func(name string) string {
			return map[string]string{"NO_COLOR": c.noColor, "TERM": c.term}[name]
		})
		if err != nil || live != c.live || colors != c.colors {
			t.Errorf("%+v: live %v, colours %v, error %v", c, live, colors, err)
		}
	}
	if _, err := Detect(&bytes.Buffer{}, &bytes.Buffer{}, "sometimes", func(string) string { return "" }); err == nil {
		t.Error("--color sometimes was taken")
	}
	o, err := Detect(&bytes.Buffer{}, &bytes.Buffer{}, "auto", func(string) string { return "" })
	if err != nil || o.Live || o.Color {
		t.Errorf("a buffer was taken for a terminal: %+v, %v", o, err)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"shop/cart-0":    "shop/cart-0",
		"a\tb\nc":        "a\tb\nc",
		"機器 é 😀":         "機器 é 😀",
		"\x1b[2J\r\x7f":  `\u001b[2J\u000d\u007f`,
		"\u009b31m":      `\u009b31m`,
		"\x9b31m\xff":    `\x9b31m\xff`,
		"real \ufffd":    "real \ufffd",
		"a\u202eb\u2066": `a\u202eb\u2066`,
		"\U000e0041":     `\U000e0041`,
		"\u00a0":         `\u00a0`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

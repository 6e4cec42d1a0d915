// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The oracle is the real shell: what was quoted arrives as it was, byte by byte.
func TestQuoteIsReadBackByTheShell(t *testing.T) {
	hostile := rapid.SampledFrom([]string{
		"", "'", "''", "\\", "\\'", "$(id)", "`id`", "${IFS}", "*", "~", "~root", "-n", "--", "-oProxyCommand=id", "a b", "\n", "\r\n", "\t", ";", "&&", "|", ">x", "<x",
		"#", "!", "!!", "a=b", "if", "{", "}", "\x1b[31m", "\xff\xfe", "é", "\x7f", "%s", "\"",
	})
	word := rapid.OneOf(
		hostile,
		rapid.Map(rapid.SliceOfN(hostile, 0, 5), func(parts []string) string { return strings.Join(parts, "") }),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 40), func(b []byte) string { return string(b) }),
		rapid.StringMatching(`[a-zA-Z0-9_./:,+@%-]{0,12}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 1, 6).Draw(t, "words")
		script := Quote(append([]string{"printf", `%s\0`}, words...)...)
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script).Output()
		if err != nil {
			t.Fatalf("%q: %v", script, err)
		}
		if want := strings.Join(words, "\x00") + "\x00"; string(out) != want {
			t.Fatalf("%q: got %q, want %q", script, out, want)
		}
	})
}

// No name of a command is a word of the shell's own, an assignment or an option of it.
func TestQuoteFirstWord(t *testing.T) {
	for word, want := range map[string]string{
		"/usr/bin/env": "/usr/bin/env", "if": "'if'", "a=b": "'a=b'", "-n": "'-n'", "kubeadm": "'kubeadm'", "/a b": "'/a b'", "~": "'~'",
	} {
		if got := Quote(word, "x"); got != want+" x" {
			t.Errorf("%s: got %s", word, got)
		}
	}
}

func TestCheckArgvAndEnv(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"a=b"}, {"true", "a\x00b"}} {
		if CheckArgv(argv) == nil {
			t.Errorf("argv %q was taken", argv)
		}
	}
	if err := CheckArgv([]string{"true", "", "a=b", "\n"}); err != nil {
		t.Error(err)
	}
	for _, env := range []string{"", "A", "=b", "1A=b", "A B=c", "A\n=b", "-u=b", "A=\x00"} {
		if CheckEnv([]string{env}) == nil {
			t.Errorf("variable %q was taken", env)
		}
	}
	if err := CheckEnv([]string{"A=", "_b1=x=y\n"}); err != nil {
		t.Error(err)
	}
}

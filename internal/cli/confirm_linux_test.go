// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// openTerminal returns both ends of a new pseudo-terminal: who types, and what
// a program reads from.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		typed string
		code  int
	}{
		{"y\n", exitDone}, {"Yes\n", exitDone}, {"n\n", exitUnfinished}, {"\n", exitUnfinished}, {"yo\n", exitUnfinished},
	} {
		t.Run(strings.TrimSpace(tt.typed), func(t *testing.T) {
			keyboard, terminal := openTerminal(t)
			if _, err := keyboard.WriteString(tt.typed); err != nil {
				t.Fatal(err)
			}
			var errw bytes.Buffer
			a := &app{IOStreams: genericiooptions.IOStreams{In: terminal, ErrOut: &errw}}
			if code := exitCode(a.confirm(t.Context())); code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			if errw.String() != "Go ahead? [y/N] " {
				t.Errorf("asked %q", &errw)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		_, terminal := openTerminal(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a := &app{IOStreams: genericiooptions.IOStreams{In: terminal, ErrOut: &bytes.Buffer{}}}
		if code := exitCode(a.confirm(ctx)); code != exitUnfinished {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("with --yes", func(t *testing.T) {
		a := &app{yes: true}
		if err := a.confirm(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("without a terminal", func(t *testing.T) {
		a := &app{IOStreams: genericiooptions.IOStreams{In: strings.NewReader("y\n"), ErrOut: &bytes.Buffer{}}}
		if code := exitCode(a.confirm(t.Context())); code != exitUsage {
			t.Errorf("exit %d", code)
		}
	})
}

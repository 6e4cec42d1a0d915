// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/host"
)

func TestScript(t *testing.T) {
	m := New(t, "node-01")
	m.Always("true")
	m.Expect("apt-get", "update").Stdout("a\nb\n").Stderr("c\n").Code(100)
	m.Expect("tee", "/x").Do(func(_ []string, stdin string) { m.SetFile("/x", stdin, 0o600) }).BreakAfter()
	m.ExpectFunc("anything of kubeadm", func(argv []string) bool { return argv[0] == "kubeadm" }).BreakBefore()
	m.ExpectShell("uptime").Code(3)

	var lines []string
	result, err := m.Exec(t.Context(), []string{"apt-get", "update"}, host.ExecOptions{Output: func(line string) { lines = append(lines, line) }})
	if err != nil || result.Code != 100 || string(result.Stdout) != "a\nb\n" || !slices.Equal(lines, []string{"a", "b", "c"}) {
		t.Errorf("got %+v, %v, %q", result, err, lines)
	}
	if _, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil {
		t.Error(err)
	}
	_, err = m.Exec(t.Context(), []string{"tee", "/x"}, host.ExecOptions{Stdin: strings.NewReader("data")})
	if !errors.Is(err, ErrLost) || errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	if data, err := m.ReadFile(t.Context(), "/x"); err != nil || string(data) != "data" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := m.Exec(t.Context(), []string{"kubeadm", "upgrade"}, host.ExecOptions{}); !errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	var exit *host.ExitError
	if err := m.Run(t.Context(), "uptime", nil); !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("got %v", err)
	}
	want := []string{"'apt-get' update", "'true'", "'tee' /x", "'kubeadm' upgrade", "'sh' -c uptime"}
	if got := m.Log(); !slices.Equal(got, want) {
		t.Errorf("log %q", got)
	}
}

func TestFilesBootsAndReach(t *testing.T) {
	m := New(t, "node-01")
	if _, err := m.ReadFile(t.Context(), "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := m.WriteFile(t.Context(), "/a", []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, ok := m.File("/a"); !ok || string(f.Data) != "b" || f.Mode != 0o600 {
		t.Errorf("got %v, %v", f, ok)
	}
	for _, id := range []string{"x", "x", "y"} {
		if err := m.Reboot(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := m.BootID(t.Context()); err != nil || id != "boot-3" || m.Reboots() != 2 {
		t.Errorf("boot ID %s, %v", id, err)
	}
	m.Offline()
	if _, err := m.BootID(t.Context()); !errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	m.Online()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Reboot(ended, "z"); !errors.Is(err, context.Canceled) || m.Reboots() != 2 {
		t.Errorf("got %v", err)
	}
}

// failed is a testing.TB that remembers that the test failed.
type failed struct {
	testing.TB
	messages []string
	cleanup  []func()
}

func (f *failed) Errorf(format string, _ ...any) { f.messages = append(f.messages, format) }
func (f *failed) Cleanup(fn func())              { f.cleanup = append(f.cleanup, fn) }

func TestWhatIsNotExpectedFails(t *testing.T) {
	f := &failed{TB: t}
	m := New(f, "node-01")
	m.Expect("a")
	if _, err := m.Exec(t.Context(), []string{"b"}, host.ExecOptions{}); !errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	if len(f.messages) != 1 {
		t.Errorf("an unexpected command: %q", f.messages)
	}
	for _, fn := range f.cleanup {
		fn()
	}
	if len(f.messages) != 2 {
		t.Errorf("a command that did not come: %q", f.messages)
	}
}

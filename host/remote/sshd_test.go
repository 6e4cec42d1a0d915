// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	"pgregory.net/rapid"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// TestMain looks for goroutines that were left behind. Left out is one of x/crypto: a channel that
// is opened in the moment in which its connection ends is never answered (ssh/mux.go:
// newChannel after dropAll), which connection.dial does not wait for.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/crypto/ssh.(*Client).DialContext.func1"))
}

// network is one with the configuration of a test alone.
func network(t *testing.T, config string) *Network {
	t.Helper()
	n, err := New(Options{ConfigFile: config, Home: t.TempDir(), User: "nobody", Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// loopback is a machine on the loopback address, with what a test changes of its target.
func loopback(t *testing.T, n *Network, change func(*Target), env ...string) host.Machine {
	t.Helper()
	target, err := n.Target(Address{Name: "node-01", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&target)
	}
	m := n.Machine(target, env)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestExec(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	m := loopback(t, network(t, sshd.Config), nil)
	var lines []string
	result, err := m.Exec(t.Context(), []string{"sh", "-c", `cat; echo "$A $LC_ALL" >&2; exit 3`}, host.ExecOptions{
		Stdin: strings.NewReader("in\n"), Env: []string{"A=x y$HOME"}, Output: func(line string) { lines = append(lines, line) },
	})
	if err != nil || result.Code != 3 || string(result.Stdout) != "in\n" || string(result.Stderr) != "x y$HOME C\n" {
		t.Errorf("got %+v, %v", result, err)
	}
	slices.Sort(lines)
	if !slices.Equal(lines, []string{"in", "x y$HOME C"}) {
		t.Errorf("lines %q", lines)
	}
	for command, code := range map[string]int{"true": 0, "exit 255": 255, "kill -9 $$": -1} {
		if result, err := m.Exec(t.Context(), []string{"sh", "-c", command}, host.ExecOptions{}); err != nil || result.Code != code {
			t.Errorf("%s: got %+v, %v", command, result, err)
		}
	}
	if result, err := m.Exec(t.Context(), []string{"/does/not/exist"}, host.ExecOptions{}); err != nil || result.Code != 127 {
		t.Errorf("got %+v, %v", result, err)
	}
	if n := sshd.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// An operator's command that leaves something behind that keeps its output open is not
// waited for. (The output of refit's own commands has to be whole.)
func TestRunBackground(t *testing.T) {
	m := loopback(t, network(t, hosttest.StartSSHD(t).Config), nil)
	var pid string
	if err := m.Run(t.Context(), "sleep 600 & echo $!", func(line string) { pid = line }); err != nil {
		t.Fatal(err)
	}
	if err := host.Succeed(m.Exec(t.Context(), []string{"kill", pid}, host.ExecOptions{})); err != nil {
		t.Error(err)
	}
}

// Whatever an argument holds, it arrives as it is.
func TestArgumentsArrive(t *testing.T) {
	m := loopback(t, network(t, hosttest.StartSSHD(t).Config), nil)
	word := rapid.OneOf(
		rapid.SampledFrom([]string{"", "'", "-n", "--", "$(id)", "`id`", "\n", "\\", "a b", "*", "~", "!x", "\x1b[31m", "\xff", "a=b"}),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 30), func(b []byte) string { return string(b) }),
	)
	words := make([]string, 400) // host.Quote has the property test; this is the way over a real server
	for i := range words {
		words[i] = word.Example(i)
	}
	result, err := m.Exec(t.Context(), append([]string{"printf", `%s\0`}, words...), host.ExecOptions{})
	if want := strings.Join(words, "\x00") + "\x00"; err != nil || string(result.Stdout) != want {
		t.Errorf("got %q %v, want %q", result.Stdout, err, want)
	}
}

func TestFiles(t *testing.T) {
	m, dir := loopback(t, network(t, hosttest.StartSSHD(t).Config), nil), t.TempDir()
	name := filepath.Join(dir, "a file")
	if _, err := m.ReadFile(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	data := []byte(strings.Repeat("\x00\xff line\n", 1<<18)) // 2 MiB: more than a window, and than a Result holds
	if err := m.WriteFile(t.Context(), name, data, 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := m.ReadFile(t.Context(), name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := m.WriteFile(t.Context(), filepath.Join(dir, "none", "x"), nil, 0o600); err == nil {
		t.Error("a file was written into a directory that is not there")
	}
}

func TestRun(t *testing.T) {
	m := loopback(t, network(t, hosttest.StartSSHD(t).Config), nil, "REFIT_NODE=node-01")
	var lines []string
	err := m.Run(t.Context(), `echo "$REFIT_NODE"; exit 7`, func(line string) { lines = append(lines, line) })
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || !slices.Equal(lines, []string{"node-01"}) {
		t.Errorf("got %q, %v", lines, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	err = m.Run(ctx, `trap '' TERM; echo $$; sleep 600; sleep 600`, func(line string) { lines = append(lines, line); cancel(enough) })
	if !errors.Is(err, enough) || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("got %v", err)
	}
	// Its process group was killed, so that nothing of it is left but perhaps a zombie.
	stat, err := os.ReadFile("/proc/" + lines[len(lines)-1] + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("it goes on: %s", stat)
	}
}

func TestManyAtOnce(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	m := loopback(t, network(t, sshd.Config), nil)
	var all sync.WaitGroup
	for i := range 30 { // more than a server takes at once
		all.Go(func() {
			result, err := m.Exec(t.Context(), []string{"echo", fmt.Sprint(i)}, host.ExecOptions{})
			if err != nil || string(result.Stdout) != fmt.Sprintf("%d\n", i) {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(sshd.Log(), "Accepted publickey"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// A connection that was lost between two commands is made again without a word; one
// that is lost in the middle of a command leaves the outcome open.
func TestConnectionIsCut(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	m := loopback(t, network(t, sshd.Config), nil)
	if _, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil {
		t.Fatal(err)
	}
	sshd.Cut()
	if _, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil {
		t.Errorf("after a cut: %v", err)
	}
	_, err := m.Exec(t.Context(), []string{"sh", "-c", "echo up; exec sleep 5"}, host.ExecOptions{Output: func(string) { sshd.Cut() }})
	if err == nil || errors.Is(err, host.ErrNotStarted) || !host.Temporary(err) {
		t.Errorf("in the middle: %v", err)
	}
	sshd.Stop()
	if _, err = m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); !errors.Is(err, host.ErrNotStarted) || !host.Temporary(err) {
		t.Errorf("with no server: %v", err)
	}
	sshd.Start(t)
	if _, err = m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil {
		t.Errorf("with a server again: %v", err)
	}
}

func TestJump(t *testing.T) {
	inner := hosttest.StartSSHD(t)
	outer, middle := hosttest.StartSSHD(t), hosttest.StartSSHD(t)
	known := ""
	for _, s := range []*hosttest.SSHD{inner, outer, middle} {
		text, err := os.ReadFile(s.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		known += string(text)
	}
	dir := t.TempDir()
	plain, config := filepath.Join(dir, "known"), filepath.Join(dir, "config")
	if err := os.WriteFile(plain, []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("Host outer\n HostName 127.0.0.1\n Port %d\n IdentityFile %s\nHost middle\n HostName 127.0.0.1\n Port %d\n IdentityFile %s\n"+
		"Host node-*\n ProxyJump outer,root@middle\n Port %d\n IdentityFile %s\nHost *\n User root\n UserKnownHostsFile %s\n",
		outer.Port, outer.Key, middle.Port, middle.Key, inner.Port, inner.Key, plain)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := network(t, config)
	for _, m := range []host.Machine{loopback(t, n, nil), loopback(t, n, nil)} {
		result, err := m.Exec(t.Context(), []string{"sh", "-c", "echo $SSH_CONNECTION"}, host.ExecOptions{})
		if err != nil || !strings.Contains(string(result.Stdout), fmt.Sprint(inner.Port)) {
			t.Fatalf("got %+v, %v", result, err)
		}
	}
	if o, m, i := outer.Connections(), middle.Connections(), inner.Connections(); o != 1 || m != 1 || i != 2 {
		t.Errorf("%d, %d and %d connections: want 1, 1 and 2", o, m, i)
	}
	outer.Cut()
	m := loopback(t, n, nil)
	if _, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); err != nil {
		t.Errorf("after the jump host was cut: %v", err)
	}
	outer.Stop()
	_, err := loopback(t, n, nil).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if !errors.Is(err, host.ErrNotStarted) || !strings.Contains(err.Error(), "outer") {
		t.Errorf("without the jump host: %v", err)
	}
}

// sudo is one that a test writes; what it was asked for is checked.
func fakeSudo(t *testing.T, sshd *hosttest.SSHD, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(sshd.Bin, "sudo"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSudo(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	asSudo := func(target *Target) { target.Sudo = true }
	fakeSudo(t, sshd, `[ "$1 $2" = "-n --" ] || exit 9; shift 2; exec "$@"`)
	m := loopback(t, network(t, sshd.Config), asSudo)
	if result, err := m.Exec(t.Context(), []string{"echo", "it's"}, host.ExecOptions{}); err != nil || string(result.Stdout) != "it's\n" {
		t.Errorf("got %+v, %v", result, err)
	}
	fakeSudo(t, sshd, `echo "sudo: a password is required" >&2; exit 1`)
	m = loopback(t, network(t, sshd.Config), asSudo)
	_, err := m.Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if !errors.Is(err, ErrSudo) || !errors.Is(err, host.ErrNotStarted) || host.Temporary(err) || !strings.Contains(err.Error(), "a password is required") {
		t.Errorf("got %v", err)
	}
	fakeSudo(t, sshd, `echo 1000`) // it lets run, and not as root
	m = loopback(t, network(t, sshd.Config), asSudo)
	if _, err = m.Exec(t.Context(), []string{"true"}, host.ExecOptions{}); !errors.Is(err, ErrSudo) {
		t.Errorf("got %v", err)
	}
}

// A login that greets would make every output of a command something else.
func TestGreetingShell(t *testing.T) {
	sshd := hosttest.StartSSHD(t, "ForceCommand echo welcome; eval \"$SSH_ORIGINAL_COMMAND\"")
	_, err := loopback(t, network(t, sshd.Config), nil).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if !errors.Is(err, ErrShell) || !strings.Contains(err.Error(), "welcome") || !errors.Is(err, host.ErrNotStarted) {
		t.Errorf("got %v", err)
	}
}

func TestBannerIsNoOutput(t *testing.T) {
	banner := filepath.Join(t.TempDir(), "banner")
	if err := os.WriteFile(banner, []byte("\x1b]0;evil\x07AUTHORISED USE ONLY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sshd := hosttest.StartSSHD(t, "Banner "+banner)
	result, err := loopback(t, network(t, sshd.Config), nil).Exec(t.Context(), []string{"true"}, host.ExecOptions{})
	if err != nil || len(result.Stdout)+len(result.Stderr) > 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}

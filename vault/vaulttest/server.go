// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadline guards against a hang.
const deadline = 10 * time.Minute

// serve starts a server, which ends with the test, and waits until it listens.
func serve(t *testing.T, address string, env []string, argv ...string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is ended below
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, address)
}

// program is a server's, built of the module in a directory beside this file if it is not in bin
// or of another version.
func program(t testing.TB, name, dir, path string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	bin := filepath.Join(root, "bin")
	must(t, os.MkdirAll(bin, 0o755))
	// The tests of several packages run at once.
	lock, err := os.OpenFile(filepath.Join(bin, "."+name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	program := filepath.Join(bin, name)
	module := filepath.Join(filepath.Dir(here), dir)
	if newer(program, filepath.Join(module, "go.mod")) {
		return program
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", program, path)
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return program
}

func newer(file, than string) bool {
	a, err := os.Stat(file)
	b, err2 := os.Stat(than)
	return errors.Join(err, err2) == nil && !a.ModTime().Before(b.ModTime())
}

// await waits until something listens.
func await(t testing.TB, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("nobody listens on %s: %w", address, err))
		}
	}
}

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

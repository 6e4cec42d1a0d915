// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// greeter listens on the loopback and greets whoever connects.
func greeter(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "welcome")
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

// Connections are opened from the machine, over the one connection to it, also after that
// was lost.
func TestDial(t *testing.T) {
	sshd := hosttest.StartSSHD(t)
	m, address := loopback(t, network(t, sshd.Config), nil), greeter(t)
	for range 2 {
		for range 3 {
			conn, err := m.Dial(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(conn); err != nil || string(text) != "welcome" {
				t.Errorf("got %q, %v", text, err)
			}
			_ = conn.Close()
		}
		if n := sshd.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		sshd.Cut()
	}
	// Nobody listens there: that is not about the way to the machine.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	if _, err := m.Dial(t.Context(), nobody); err == nil || host.Temporary(err) || errors.Is(err, host.ErrNoForwarding) {
		t.Errorf("got %v", err)
	}
	sshd.Stop()
	if _, err := m.Dial(t.Context(), address); !host.Temporary(err) {
		t.Errorf("got %v", err)
	}
}

func TestDialWithoutForwarding(t *testing.T) {
	m := loopback(t, network(t, hosttest.StartSSHD(t, "AllowTcpForwarding no").Config), nil)
	if _, err := m.Dial(t.Context(), greeter(t)); !errors.Is(err, host.ErrNoForwarding) || !strings.Contains(err.Error(), "node-01") {
		t.Errorf("got %v", err)
	}
}

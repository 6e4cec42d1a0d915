// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func dialer(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func TestServiceHTTP(t *testing.T) {
	var code, connections atomic.Int32
	code.Store(http.StatusNotFound)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	s := &Service{Address: server.Listener.Addr().String(), Dial: dialer}
	for range 3 {
		if err := s.Ask(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
	code.Store(http.StatusServiceUnavailable)
	if err := s.Ask(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v", err)
	}
	server.Close()
	if err := s.Ask(t.Context()); err == nil {
		t.Error("nobody listens, and it was answered")
	}
}

// What speaks another protocol, or waits for more to be said, is connected to.
func TestServiceTCP(t *testing.T) {
	for name, greeting := range map[string]string{"another protocol": "220 mail.example.com\r\n", "silent": ""} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(greeting))
				}
			}()
			s := &Service{Address: l.Addr().String(), Dial: dialer}
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // the first one of the silent takes all of it
				if err := s.Ask(ctx); err != nil {
					t.Error(err)
				}
				cancel()
			}
			_ = l.Close()
			if err := s.Ask(t.Context()); err == nil {
				t.Error("nobody listens, and it was answered")
			}
		})
	}
}

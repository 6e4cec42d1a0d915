// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// Service asks a Service of a cluster, by a new connection for each request: GET / where
// that has been answered once, else the connection alone. It is safe for concurrent use.
type Service struct {
	// Address is the Service's, "IP:port".
	Address string
	// Dial connects to it from where the Service is to be used.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	mu      sync.Mutex
	decided bool // whether it speaks HTTP is known
	http    bool
}

// Ask sends one request. Every answer of HTTP counts but those of 500 and more.
func (s *Service) Ask(ctx context.Context) error {
	conn, err := s.Dial(ctx, s.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Connections over SSH know no deadlines: they are closed.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s.mu.Lock()
	decided, speaks := s.decided, s.http
	s.mu.Unlock()
	if decided && !speaks {
		return nil
	}
	code, err := s.get(conn)
	if !decided {
		// What does not answer in HTTP now has at least been connected to.
		s.mu.Lock()
		s.decided, s.http = true, err == nil
		s.mu.Unlock()
		if err != nil {
			return nil
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("GET /: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("GET /: %w", err)
	case code >= http.StatusInternalServerError:
		return fmt.Errorf("GET /: the answer is %d", code)
	}
	return nil
}

// errNoHTTP says that an answer is not one of HTTP.
var errNoHTTP = errors.New("the answer is not HTTP")

func (s *Service) get(conn net.Conn) (code int, err error) {
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: refit\r\nAccept: */*\r\nConnection: close\r\n\r\n", s.Address); err != nil {
		return 0, err
	}
	reader := bufio.NewReader(conn)
	if start, err := reader.Peek(5); err != nil {
		return 0, err
	} else if string(start) != "HTTP/" {
		return 0, errNoHTTP
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

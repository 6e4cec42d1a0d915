// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

var (
	// ErrSudo says that the login is not root and may not become it without a password.
	ErrSudo = errors.New("commands cannot be run as root")
	// ErrShell says that the login's shell is not fit to run commands for refit.
	ErrShell = errors.New("the login's shell cannot be used")
)

// maxSessions is how many commands are run at once over one connection: OpenSSH
// refuses more than 10 (sshd_config(5), MaxSessions).
const maxSessions = 8

// machine runs commands on a host, each in a session of the one connection.
type machine struct {
	link     *link
	sessions chan struct{}
	// checked is the connection over which a command was seen to run as root.
	checked *connection
}

// Do runs a command in a session of its own.
func (m *machine) Do(ctx context.Context, c host.Command) (int, error) {
	select {
	case m.sessions <- struct{}{}:
		defer func() { <-m.sessions }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %s: wait for a session: %w", host.ErrNotStarted, m.link.target, context.Cause(ctx))
	}
	for again := false; ; again = true {
		conn, err := m.ready(ctx)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", host.ErrNotStarted, err)
		}
		s, err := m.open(ctx, conn)
		switch {
		case err == nil:
			return s.run(ctx, m.line(c.Argv), c)
		case ctx.Err() == nil && !again && conn.lost():
			continue // it had died since the last command: a new one
		}
		return 0, fmt.Errorf("%w: %w", host.ErrNotStarted, err)
	}
}

// line is argv for the login's shell.
func (m *machine) line(argv []string) string {
	if m.link.target.Sudo {
		argv = host.AsRoot(argv)
	}
	return host.Quote(argv...)
}

// lost tells whether the connection has ended.
func (c *connection) lost() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// open opens a session. It waits for the answer no longer than ctx; a session that
// is opened after that is closed by who opened it.
func (m *machine) open(ctx context.Context, conn *connection) (*session, error) {
	type opened struct {
		s   *session
		err error
	}
	answer := make(chan opened)
	given := make(chan struct{})
	m.link.work.Go(func() {
		channel, requests, err := conn.client.OpenChannel("session", nil)
		s := &session{link: m.link, conn: conn, channel: channel, requests: requests}
		select {
		case answer <- opened{s, err}:
		case <-given:
			if err == nil {
				go ssh.DiscardRequests(requests)
				_ = channel.Close() // nobody wants it any more
			}
		}
	})
	select {
	case a := <-answer:
		var refused *ssh.OpenChannelError
		switch {
		case errors.As(a.err, &refused):
			return nil, &lostError{m.link.target, fmt.Errorf("it opens no session: %w", a.err)}
		case a.err != nil:
			<-conn.dead // nothing else fails it
			return nil, &lostError{m.link.target, conn.reason()}
		}
		return a.s, nil
	case <-ctx.Done():
		close(given)
		return nil, fmt.Errorf("%s: open a session: %w", m.link.target, context.Cause(ctx))
	}
}

// Dial opens a connection from the host, in a channel of the one connection to it.
func (m *machine) Dial(ctx context.Context, address string) (net.Conn, error) {
	for again := false; ; again = true {
		conn, err := m.link.connect(ctx)
		if err != nil {
			return nil, err
		}
		opened, err := conn.dial(ctx, address)
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			return opened, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("connect from %s to %s: %w", m.link.target, address, context.Cause(ctx))
		case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
			return nil, fmt.Errorf("connect from %s to %s: %w", m.link.target, address, host.ErrNoForwarding)
		case errors.As(err, &refused):
			return nil, fmt.Errorf("connect from %s to %s: %w", m.link.target, address, err)
		case !again && conn.ending(m.link.options.Clock):
			continue // it had died since it was last used: a new one
		}
		return nil, &lostError{m.link.target, fmt.Errorf("connect to %s: %w", address, err)}
	}
}

// ready returns the connection once a command was seen to run as root over it, with
// nothing but its own output.
func (m *machine) ready(ctx context.Context) (*connection, error) {
	conn, err := m.link.connect(ctx)
	if err != nil {
		return nil, err
	}
	m.link.mu.Lock()
	checked := m.checked == conn
	m.link.mu.Unlock()
	if checked {
		return conn, nil
	}
	s, err := m.open(ctx, conn)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	code, err := s.run(ctx, m.line([]string{"/usr/bin/env", "id", "-u"}), host.Command{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return nil, err
	}
	if err := m.judge(code, stdout.String(), stderr.String()); err != nil {
		return nil, err
	}
	m.link.mu.Lock()
	defer m.link.mu.Unlock()
	m.checked = conn
	return conn, nil
}

// judge says what is wrong if "id -u" does not say that it is root.
func (m *machine) judge(code int, stdout, stderr string) error {
	t := m.link.target
	switch {
	case code == 0 && stdout == "0\n":
		return nil
	case code == 0 && strings.HasSuffix(stdout, "0\n") && strings.TrimSpace(stdout) != "0" && !numeric(strings.TrimSpace(stdout)):
		return hint.Wrap(fmt.Errorf("%w: %s writes something before every command: %.80q", ErrShell, t, strings.TrimSuffix(stdout, "0\n")),
			"see to it that what it runs at every start (.bashrc, .zshenv) writes nothing unless the shell is interactive")
	case code != 0 && t.Sudo:
		return hint.Wrap(fmt.Errorf("%w: %s: sudo: %.200q", ErrSudo, t, strings.TrimSpace(stderr)),
			"let that user run commands without a password, by a file in /etc/sudoers.d: %s ALL=(root) NOPASSWD: ALL; or log in as root", t.User)
	case code != 0:
		return hint.Wrap(fmt.Errorf("%w: %s: id -u exited with status %d: %.200q", ErrShell, t, code, strings.TrimSpace(stderr)),
			"try the same by hand: ssh %s id -u", host.Quote(t.User+"@"+t.Host))
	}
	return hint.Wrap(fmt.Errorf("%w: %s is the user with the number %.40q", ErrSudo, t, strings.TrimSpace(stdout)),
		"log in as root, or let sudo be used")
}

func numeric(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Close ends the connection. Commands that run go on, and their outcome is unknown.
func (m *machine) Close() error { return m.link.Close() }

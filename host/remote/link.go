// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

// ErrLogin says that the machine did not let refit in.
var ErrLogin = errors.New("the login was refused")

// lostError is a connection that could not be made, or was lost: it may work later.
type lostError struct {
	target Target
	err    error
}

func (e *lostError) Error() string    { return fmt.Sprintf("%s: %v", e.target, e.err) }
func (e *lostError) Unwrap() error    { return e.err }
func (e *lostError) OutOfReach() bool { return true }

// errClosed says that somebody uses what was closed.
var errClosed = errors.New("the connection was closed by refit itself")

// link is the way to one host: a connection that is made when it is needed.
type link struct {
	options Options
	target  Target
	over    *link // nil: directly

	turn chan struct{} // held by who connects; a channel, so that waiting for it can end
	mu   sync.Mutex
	live *connection
	done bool
	work sync.WaitGroup
}

// connection is one connection of a link.
type connection struct {
	client *ssh.Client
	wire   *wire
	// dead is closed when the connection has ended; why says why.
	dead chan struct{}
	mu   sync.Mutex
	why  error
}

func newLink(o Options, t Target, over *link) *link {
	return &link{options: o, target: t, over: over, turn: make(chan struct{}, 1)}
}

// connect returns the link's connection, and makes it if there is none.
func (l *link) connect(ctx context.Context) (*connection, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: wait for the connection: %w", l.target, context.Cause(ctx))
	}
	if c, err := l.current(); c != nil || err != nil {
		return c, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, l.target.Connect, fmt.Errorf("no answer within %s", l.target.Connect))
	defer cancel()
	client, wire, err := l.dial(limited)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: connect: %w", l.target, context.Cause(ctx))
		}
		return nil, err
	}
	return l.keep(client, wire)
}

// current is the connection that there is, nil if it is dead.
func (l *link) current() (*connection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return nil, fmt.Errorf("%s: %w", l.target, errClosed)
	}
	if l.live == nil {
		return nil, nil
	}
	select {
	case <-l.live.dead:
		return nil, nil
	default:
		return l.live, nil
	}
}

// keep makes client the link's connection and watches over it.
func (l *link) keep(client *ssh.Client, w *wire) (*connection, error) {
	c := &connection{client: client, wire: w, dead: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return nil, errors.Join(fmt.Errorf("%s: %w", l.target, errClosed), client.Close())
	}
	l.live = c
	l.work.Go(func() {
		err := client.Wait()
		c.fail(fmt.Errorf("the connection was lost: %w", err))
		close(c.dead)
	})
	l.work.Go(func() { l.alive(c) })
	return c, nil
}

// fail remembers the first reason why the connection ended.
func (c *connection) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		c.why = err
	}
}

func (c *connection) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// alive asks the host from time to time whether it is there, and ends the connection
// when it does not answer: TCP alone would wait for a quarter of an hour.
func (l *link) alive(c *connection) {
	ticker := l.options.Clock.NewTicker(l.target.Alive)
	defer ticker.Stop()
	answered, asked := make(chan struct{}, 1), false
	missed := 0
	for {
		select {
		case <-c.dead:
			return
		case <-answered:
			asked, missed = false, 0
		case <-ticker.C():
			if !asked {
				asked = true
				l.work.Go(func() {
					// An answer that says no is one; the error is that of the connection.
					if _, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						answered <- struct{}{}
					}
				})
				continue
			}
			if missed++; missed >= l.target.Missed {
				c.fail(fmt.Errorf("the connection was lost: no answer for %s", l.target.Alive*time.Duration(l.target.Missed)))
				_ = c.client.Close() // it is given up
				return
			}
		}
	}
}

// dial connects and logs in.
func (l *link) dial(ctx context.Context) (*ssh.Client, *wire, error) {
	stream, err := l.stream(ctx)
	if err != nil {
		return nil, nil, err
	}
	w := &wire{Conn: stream}
	client, err := l.handshake(ctx, w)
	if err != nil {
		_ = stream.Close() // the error is told
		return nil, nil, err
	}
	return client, w, nil
}

// wire is what an SSH connection is made of. It remembers that nothing more comes,
// before the connection hears of it: to who reads from a session the loss of a
// connection looks like the end of the output.
type wire struct {
	net.Conn
	broken atomic.Bool
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.broken.Store(true)
	}
	return n, err
}

// stream opens what the host is talked to over.
func (l *link) stream(ctx context.Context) (net.Conn, error) {
	if l.over == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.target.addr())
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, &lostError{l.target, fmt.Errorf("connect: %w", err)}
		}
		return conn, nil
	}
	for again := false; ; again = true {
		jump, err := l.over.connect(ctx)
		if err != nil {
			return nil, fmt.Errorf("the way to %s: %w", l.target, err)
		}
		conn, err := jump.dial(ctx, l.target.addr())
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case !again && !refused(err) && jump.ending(l.options.Clock):
			continue // it had died since it was last used: a new one
		}
		return nil, &lostError{l.target, fmt.Errorf("connect from %s: %w", l.over.target, err)}
	}
}

// dial opens a connection from the host. It ends with the SSH connection, too: a request
// that is sent while that is being given up may never be answered.
func (c *connection) dial(ctx context.Context, address string) (net.Conn, error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.dead:
			cancel(c.reason())
		case <-limited.Done():
		}
	}()
	conn, err := c.client.DialContext(limited, "tcp", address)
	if err != nil && limited.Err() != nil {
		err = context.Cause(limited)
	}
	return conn, err
}

// refused tells whether the host has answered, and said no.
func refused(err error) bool {
	_, said := errors.AsType[*ssh.OpenChannelError](err)
	return said
}

// dyingGrace is how long a connection takes to be known as ended, once a request over it
// was cut off.
const dyingGrace = 2 * time.Second

// ending tells whether the connection has ended, or does in a moment.
func (c *connection) ending(clk clock.WithTicker) bool {
	timer := clk.NewTimer(dyingGrace)
	defer timer.Stop()
	select {
	case <-c.dead:
		return true
	case <-timer.C():
		return false
	}
}

// handshake makes an SSH connection of a stream.
func (l *link) handshake(ctx context.Context, stream net.Conn) (*ssh.Client, error) {
	keys, err := newHostKeys(l.target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.target, err)
	}
	who := &login{target: l.target, home: l.options.Home}
	if l.target.Agent != "" {
		if who.agent, err = (&net.Dialer{}).DialContext(ctx, "unix", l.target.Agent); err != nil {
			who.note("the agent cannot be asked: %v", err)
		} else {
			defer who.agent.Close()
		}
	}
	// Neither the handshake nor the agent know of a context: their connections are closed.
	stop := context.AfterFunc(ctx, func() {
		_ = stream.Close()
		if who.agent != nil {
			_ = who.agent.Close()
		}
	})
	defer stop()
	var offered []ssh.Signer
	config := &ssh.ClientConfig{
		User: l.target.User,
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			offered = who.signers()
			return offered, nil
		})},
		HostKeyCallback:   keys.check,
		HostKeyAlgorithms: keys.algorithms(),
	}
	conn, channels, requests, err := ssh.NewClientConn(stream, l.target.addr(), config)
	switch {
	case err == nil && stop():
		return ssh.NewClient(conn, channels, requests), nil
	case err == nil: // it ended in the last moment
		_ = conn.Close()
		fallthrough
	case ctx.Err() != nil:
		return nil, &lostError{l.target, fmt.Errorf("log in: %w", context.Cause(ctx))}
	case keys.refused != nil:
		return nil, keys.refused
	case strings.Contains(err.Error(), "unable to authenticate"), strings.Contains(err.Error(), "oo many authentication failures"):
		return nil, hint.Wrap(fmt.Errorf("%w: %s takes none of the keys: %s", ErrLogin, l.target, who.tried(offered)),
			"name the user and the key (--ssh-user, --ssh-key, or in ssh_config), and see that its public half is in %s's authorized_keys there", l.target.User)
	}
	return nil, &lostError{l.target, fmt.Errorf("log in: %w", err)}
}

// Close ends the link and its connection.
func (l *link) Close() error {
	l.mu.Lock()
	l.done = true
	live := l.live
	l.mu.Unlock()
	if live != nil {
		live.fail(errClosed)
		_ = live.client.Close() // it may be dead already
	}
	l.work.Wait()
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"refit.dev/refit/host"
)

// outputGrace is how long the rest of a command's output is waited for after it has
// ended: a process that it left in the background may keep its output open.
const outputGrace = 3 * time.Second

// wholeGrace is the same for an output that has to be whole. The machine says how a command
// has ended before the rest of its output is on its way.
const wholeGrace = 30 * time.Second

// session is one command of a connection (RFC 4254, section 6).
type session struct {
	link     *link
	conn     *connection
	channel  ssh.Channel
	requests <-chan *ssh.Request
}

// ending is what the machine says of how a command ended.
type ending struct {
	code  int
	known bool
}

// run starts the command line and waits until it has ended.
func (s *session) run(ctx context.Context, line string, c host.Command) (int, error) {
	target := s.link.target
	gate := &gate{}
	defer gate.shut()
	ended := make(chan ending, 1)
	s.link.work.Go(func() { watch(s.requests, ended) })
	// A channel that is closed here is closed by the other side in turn, or with the connection.
	defer s.channel.Close()

	started := make(chan error, 1)
	s.link.work.Go(func() { started <- s.start(line) })
	select {
	case err := <-started:
		if err != nil {
			return 0, err
		}
	case <-ctx.Done():
		return 0, fmt.Errorf("%s: the command was left alone while it was started: %w", target, context.Cause(ctx))
	}

	var readers sync.WaitGroup
	readers.Go(func() { gate.copy(c.Stdout, s.channel) })
	readers.Go(func() { gate.copy(c.Stderr, s.channel.Stderr()) })
	drained := make(chan struct{})
	s.link.work.Go(func() { readers.Wait(); close(drained) })
	go func() { // its reader may not end by itself
		if c.Stdin != nil {
			// Why it ended early is told by how the command ends.
			_, _ = io.Copy(s.channel, c.Stdin)
		}
		_ = s.channel.CloseWrite()
	}()

	select {
	case e := <-ended:
		return s.finish(ctx, e, c.Whole, drained, gate)
	case <-ctx.Done():
	}
	// Asked to end; whether it does is not waited for.
	s.link.work.Go(func() {
		_, _ = s.channel.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
		_ = s.channel.Close()
	})
	return 0, fmt.Errorf("%s: the command was left alone: %w", target, context.Cause(ctx))
}

// start asks for the command. Only a plain no means that it was not started.
func (s *session) start(line string) error {
	ok, err := s.channel.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
	switch {
	case err != nil:
		return &lostError{s.link.target, fmt.Errorf("the connection was lost while the command was started: %w", err)}
	case !ok:
		return fmt.Errorf("%w: %s refuses to run commands", host.ErrNotStarted, s.link.target)
	}
	return nil
}

// finish waits for the rest of the output of a command that ended.
func (s *session) finish(ctx context.Context, e ending, whole bool, drained <-chan struct{}, g *gate) (int, error) {
	target := s.link.target
	if !e.known {
		return 0, s.broken("the command ran, and nothing was heard of how it ended")
	}
	grace := outputGrace
	if whole {
		grace = wholeGrace
	}
	timer := s.link.options.Clock.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C():
		if whole {
			return 0, &lostError{target, fmt.Errorf("the command ended with status %d, and the rest of its output did not come for %s", e.code, grace)}
		}
		return e.code, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s: the rest of the command's output was left alone: %w", target, context.Cause(ctx))
	}
	if s.conn.wire.broken.Load() {
		return 0, s.broken(fmt.Sprintf("the command ended with status %d, and the connection was lost before all of its output had come", e.code))
	}
	if err := g.failed(); err != nil {
		return 0, fmt.Errorf("%s: the command ended with status %d; its output cannot be used: %w", target, e.code, err)
	}
	return e.code, nil
}

// broken explains a session that ended without the command's status.
func (s *session) broken(what string) error {
	err := errors.New(what)
	if s.conn.ending(s.link.options.Clock) {
		err = fmt.Errorf("%s: %w", what, s.conn.reason())
	}
	return &lostError{s.link.target, err}
}

// watch reads what the machine says of the session until that is over, and tells how
// the command ended as soon as that is known: the session may be held open longer by
// what the command left behind.
func watch(requests <-chan *ssh.Request, ended chan<- ending) {
	told := false
	tell := func(e ending) {
		if !told {
			told = true
			ended <- e
		}
	}
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var status struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &status) == nil {
				tell(ending{int(status.Status & 0xff), true})
			}
		case "exit-signal":
			tell(ending{-1, true})
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // the connection's end is seen elsewhere
		}
	}
	tell(ending{})
}

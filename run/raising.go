// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/probe"
	"refit.dev/refit/provider"
	"refit.dev/refit/skew"
)

// raising brings a managed control plane to one version.
type raising struct {
	*engine
	with upgrading
	to   string
}

// raise looks first what the API server says: a command of an earlier process, or of a run that was given
// up, may have ended, or be under way. It returns what it says in the end.
func (r raising) raise(ctx context.Context) (says string, err error) {
	if err := r.lasting(ctx, outageExpected); err != nil {
		return "", err
	}
	defer func() { // also if it failed: others may want the lock
		if err != nil || ctx.Err() != nil { // somebody waits for the run to end, and the lock expires by itself
			_ = r.lock.lasting(context.WithoutCancel(ctx), lockDuration)
			return
		}
		err = r.lasting(context.WithoutCancel(ctx), lockDuration)
	}()
	if r.with.ask != nil {
		stop := probe.Probe{Ask: r.with.ask, Clock: r.clock}.Start(ctx, r.tellOutage)
		defer stop()
	}
	says, there, err := r.look(ctx)
	if err != nil {
		return "", err
	}
	if !there {
		waited := false
		busy := func() {
			waited = true
			r.tell("it says %s; the provider's command still runs that was begun earlier, and is waited for", says)
		}
		if err := r.with.plane.AwaitRaise(ctx, busy); err != nil {
			return "", err
		}
		if waited {
			if says, there, err = r.look(ctx); err != nil {
				return "", err
			}
		}
	}
	if !there {
		if err := r.order(ctx, says); err != nil {
			return "", err
		}
	}
	return r.settle(ctx)
}

func (r raising) lasting(ctx context.Context, d time.Duration) error {
	return retry(ctx, r.clock, r.spec.Timeouts.Stall.Duration, func(ctx context.Context) error { return r.lock.lasting(ctx, d) })
}

// look asks for the version, again if the API server is away, and tells whether it is what it is to be.
func (r raising) look(ctx context.Context) (says string, there bool, err error) {
	err = retry(ctx, r.clock, r.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		says, err = r.with.version(ctx)
		return err
	})
	if err != nil {
		return "", false, err
	}
	there, err = reached(r.to, says)
	return says, there, err
}

// reached tells whether a version is the one that is wanted, or a later patch of its minor. One that
// is further away than a control plane goes at a time is an error.
func reached(want, has string) (bool, error) {
	goal, err := skew.Parse(want)
	if err != nil {
		return false, err
	}
	v, err := skew.Parse(has)
	if err != nil {
		return false, fmt.Errorf("the API server says of itself: %w", err)
	}
	switch {
	case v.Minor > goal.Minor:
		return false, hint.Wrap(fmt.Errorf("the API server is %s already", has), "somebody has raised it beyond the plan: make a new one")
	case v.Minor < goal.Minor-1:
		return false, hint.Wrap(fmt.Errorf("the API server is %s: a control plane moves one minor at a time", has), "make a new plan")
	}
	return v.Compare(goal) >= 0, nil
}

// order runs the command, again if that may help. Whatever it says, the API server is asked what came of it.
func (r raising) order(ctx context.Context, from string) error {
	limit := r.clock.NewTimer(r.limit())
	defer limit.Stop()
	for {
		if err := retry(ctx, r.clock, r.spec.Timeouts.Stall.Duration, r.lock.check); err != nil {
			return err
		}
		r.tell("it says %s; the provider is asked for %s", from, r.to)
		err := r.command(ctx, provider.Raise{Run: r.spec.Run, From: from, To: r.to})
		if err == nil {
			return nil
		}
		if _, there, looked := r.look(ctx); looked == nil && there {
			r.emit(event.Event{Type: event.Warning, Message: fmt.Sprintf("the API server says that it is there, although: %v", err)})
			return nil
		}
		if _, temporary := errors.AsType[*provider.TemporaryError](err); !temporary {
			return err
		}
		again := r.clock.NewTimer(lookAgain)
		select {
		case <-again.C():
		case <-limit.C():
			again.Stop()
			return fmt.Errorf("%w, for %s", err, r.limit())
		case <-ctx.Done():
			again.Stop()
			return context.Cause(ctx)
		}
	}
}

// command runs it once. As with a command on a machine, it is not left in the middle of something: who
// wants to stop is told what is waited for.
func (r raising) command(ctx context.Context, what provider.Raise) error {
	ended := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		select {
		case <-ctx.Done():
			r.emit(event.Event{
				Type:    event.Warning,
				Message: "stopping: waiting for the provider's command to end, which raises the control plane to " + what.To,
				Hint:    "a second Ctrl-C ends refit at once, and the command goes on: refit runs resume waits for it",
			})
		case <-ended:
		}
	})
	err := r.with.plane.Raise(context.WithoutCancel(ctx), what)
	close(ended)
	telling.Wait()
	return err
}

func (r raising) limit() time.Duration { return r.spec.Upgrade.Replace.Provider.Upgrade.Limit() }

// settle waits until the API server says the version and nothing else for a while. The limit is for
// getting there: it may be shorter than that while.
func (r raising) settle(ctx context.Context) (says string, err error) {
	begun := r.clock.Now()
	var since time.Time // when it said so first; zero: it has said something else, or nothing
	last := ""
	for {
		left := r.limit() - r.clock.Since(begun)
		asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
		has, err := r.with.version(asked)
		cancel()
		there := false
		if err == nil {
			if there, err = reached(r.to, has); err != nil {
				return "", err
			}
		}
		now := "it does not answer"
		if err == nil {
			now = "it says " + has
		}
		if now != last {
			r.tell("%s", now)
			last = now
		}
		if there {
			if since.IsZero() {
				since = r.clock.Now()
			}
			left = r.spec.Upgrade.Managed.Settle.Duration - r.clock.Since(since)
			if left <= 0 {
				return has, nil
			}
		} else if since = (time.Time{}); left <= 0 {
			return "", hint.Wrap(fmt.Errorf("%s after %s", last, r.limit()), "see what the provider says of the upgrade; refit runs resume %s looks again", r.spec.Run)
		}
		again := r.clock.NewTimer(min(lookAgain, left))
		select {
		case <-again.C():
		case <-ctx.Done():
			again.Stop()
			return "", context.Cause(ctx)
		}
	}
}

func (r raising) tell(format string, args ...any) {
	r.emit(event.Event{Type: event.Raising, Message: fmt.Sprintf(format, args...)})
}

func (r raising) tellOutage(o probe.Outage) {
	if !o.End.IsZero() {
		r.mu.Lock()
		r.outages = append(r.outages, o.End.Sub(o.Begin))
		r.mu.Unlock()
	}
	r.sink.Emit(OutageEvent(r.spec.Run, "", o))
}

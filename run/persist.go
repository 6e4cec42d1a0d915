// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"strings"
	"time"

	"refit.dev/refit/host"
)

const (
	// lookAgain is how long a machine has to become what is asked of it, or to be
	// reachable, before it is looked at again.
	lookAgain = 2 * time.Second
	// firmPatience is how long an error may last that is not about the connection.
	firmPatience = time.Minute
)

// problemsError is what a machine lacks that it may have in a moment.
type problemsError []string

func (e problemsError) Error() string { return strings.Join(e, "; ") }

// persist asks f until it says that it is so. What may pass - a connection was lost, a
// machine boots, a pod starts - has as long as a node has to be Ready, every other error
// a minute. It returns an errTimeout with the last one, or the cause of ctx's end.
func (w *worker) persist(ctx context.Context, f func() (bool, error)) error {
	limit := w.clock.NewTimer(w.spec.Timeouts.Ready.Duration)
	defer limit.Stop()
	var firm time.Time // since when the error is one that does not pass; zero: it is not
	for {
		done, err := f()
		if done {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, problems := errors.AsType[problemsError](err)
		switch {
		case problems || host.Temporary(err):
			firm = time.Time{}
		case firm.IsZero():
			firm = w.clock.Now()
		case w.clock.Since(firm) >= firmPatience:
			return &overdueError{err}
		}
		again := w.clock.NewTimer(lookAgain)
		select {
		case <-again.C():
		case <-limit.C():
			again.Stop()
			return &overdueError{err}
		case <-ctx.Done():
			again.Stop()
			return context.Cause(ctx)
		}
	}
}

// overdueError is an errTimeout with what was in the way last.
type overdueError struct{ last error }

func (e *overdueError) Error() string {
	if e.last == nil {
		return errTimeout.Error()
	}
	return e.last.Error()
}
func (e *overdueError) Is(target error) bool { return target == errTimeout }

// wait waits, or until ctx ends.
func (w *worker) wait(ctx context.Context, d time.Duration) {
	timer := w.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// awaitServer waits, between two tries of a step, until the API server answers: it may be
// away because its own machine, or this one, is worked on.
func (w *worker) awaitServer(ctx context.Context) error {
	w.wait(ctx, lookAgain)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := w.recheck(ctx)
	return err
}

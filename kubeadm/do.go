// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

const (
	// lockPatience is for how long a step is tried again while somebody else holds the
	// package manager's lock, on top of what apt itself waits for dpkg's.
	lockPatience = 10 * time.Minute
	// lockRetry is how long to wait between two tries.
	lockRetry = 5 * time.Second
	// settleEvery is how long to wait between two looks at a step that settles.
	settleEvery = 2 * time.Second
	// keptLines is how many lines of a command's output are kept to explain a failure.
	keptLines = 400
	// shownLines is how many of them a Failure carries.
	shownLines = 20
)

// Work is what a step needs to be done.
type Work struct {
	Machine host.Machine
	Clock   clock.Clock
	// Output gets what commands write, line by line; it may be nil.
	Output host.Output
	// Lost hears of connections that were lost and are tried again; it may be nil.
	Lost func(error)
}

// Do does the step on the host, whose State was looked at before. The error is a
// *Failure with its hint (errors.As, hint.Of); when ctx ended or the connection was lost for good it wraps that, and the
// step's unit, if it has one, goes on by itself: calling Do again attaches to it.
//
// That Do succeeded says that the commands did. Observe the parts of Changes
// afterwards: Done of what is found then counts.
func (s Step) Do(ctx context.Context, w Work, observed State) error {
	for {
		actions, err := s.Actions(observed)
		if err != nil {
			if f, ok := errors.AsType[*Failure](err); ok {
				err = hint.Wrap(err, "%s", f.Hint)
			}
			return err
		}
		if err = s.performAll(ctx, w, actions, observed); errors.Is(err, errEarlierEnded) {
			// What it has left is not what the actions were made for.
			now, lookErr := Observe(ctx, w.Machine, s.target.Query(s.Changes))
			if err = lookErr; err == nil {
				if observed = observed.With(now); s.Done(observed) {
					return nil
				}
				continue
			}
		}
		if err != nil {
			return s.fail(ctx, w, err, observed)
		}
		return nil
	}
}

func (s Step) performAll(ctx context.Context, w Work, actions []Action, observed State) error {
	for _, a := range actions {
		if err := s.perform(ctx, w, a, observed); err != nil {
			return err
		}
	}
	return nil
}

// fail completes a failure with the state in which the host is found now.
func (s Step) fail(ctx context.Context, w Work, err error, observed State) error {
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		f = &Failure{Kind: KindOther, Cause: err.Error(), Err: err, Hint: "look at the host and at the way to it; " + hintResume}
	}
	f.Node, f.Step = s.target.Node, s.Name
	parts := PartPackages | PartKubelet
	if s.target.Role.controlPlane() {
		parts |= PartPods
	}
	if ctx.Err() == nil {
		q := s.target.Query(parts)
		if now, lookErr := Observe(ctx, w.Machine, q); lookErr == nil {
			f.State = Describe(observed.With(now))
		}
	}
	return hint.Wrap(f, "%s", f.Hint)
}

// Settle looks at the host until the step is done, and returns what it found: a
// kubelet that was restarted needs some seconds to be there. When ctx ends first it
// returns what it found last and the cause.
func (s Step) Settle(ctx context.Context, w Work, observed State) (State, error) {
	for {
		now, err := Observe(ctx, w.Machine, s.target.Query(s.Changes))
		if err == nil {
			if observed = observed.With(now); s.Done(observed) {
				return observed, nil
			}
			err = fmt.Errorf("%s on %s is not done; the host now has %s", s.Words, s.target.Node, Describe(observed))
		} else if ctx.Err() == nil && !host.Temporary(err) {
			return observed, err
		}
		timer := w.Clock.NewTimer(settleEvery)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return observed, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (s Step) perform(ctx context.Context, w Work, a Action, observed State) error {
	switch {
	case a.edit != nil:
		return edit(ctx, w.Machine, a)
	case a.Unit != "":
		return s.unit(ctx, w, a, observed)
	}
	output := &tail{out: w.Output}
	result, err := w.Machine.Exec(ctx, a.Argv, host.ExecOptions{Env: a.Env, Output: output.add})
	if err != nil {
		return fmt.Errorf("run %s: %w", a.Argv[0], err)
	}
	if result.Code != 0 {
		return output.failure(s.Name, fmt.Sprintf("exited with status %d", result.Code))
	}
	return nil
}

// unit runs the action as a unit, as often as the lock of the package manager demands.
func (s Step) unit(ctx context.Context, w Work, a Action, observed State) error {
	begun := w.Clock.Now()
	for {
		failure, err := s.runUnit(ctx, w, a, observed)
		if err != nil {
			return err
		}
		if failure == nil {
			return nil
		}
		if failure.Kind != KindLocked || w.Clock.Since(begun) >= lockPatience {
			return failure
		}
		timer := w.Clock.NewTimer(lockRetry)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", failure.Cause, context.Cause(ctx))
		}
	}
}

// errEarlierEnded says that a unit of the step's name ran with another command, and has ended.
var errEarlierEnded = errors.New("an earlier attempt has ended")

// runUnit runs the unit once, or attaches to the one that runs. An earlier attempt is one
// by its name: its command was made for what the host was like before it ran, which it is
// changing. It is waited for, and then errEarlierEnded.
func (s Step) runUnit(ctx context.Context, w Work, a Action, observed State) (*Failure, error) {
	u := host.Unit{Name: a.Unit, Description: "refit: " + s.Words, Argv: a.Argv, Env: a.Env}
	status, err := u.Status(ctx, w.Machine)
	if err != nil {
		return nil, err
	}
	switch {
	case status.OK() && a.once && s.asExpected(observed):
		// An earlier attempt of this run got through while nobody looked.
		return nil, nil
	case status.State == host.UnitEnded || status.State == host.UnitLost:
		if err := u.Remove(ctx, w.Machine); err != nil {
			return nil, err
		}
	}
	output := &tail{out: w.Output}
	status, err = host.RunUnit(ctx, w.Machine, u, output.add, w.Clock, w.Lost)
	switch {
	case errors.Is(err, host.ErrOtherUnit):
		if _, err = host.FollowUnit(ctx, w.Machine, u, output.add, w.Clock, w.Lost); err != nil {
			return nil, err
		}
		return nil, errEarlierEnded
	case err != nil:
		return nil, err
	case status.OK():
		return nil, nil
	case status.State == host.UnitLost:
		return &Failure{
			Kind: KindStopped, Cause: "the command was stopped by somebody, or the host was booted in the middle of it", Output: output.shown(),
			Hint: "look at why; resuming looks at the host and does what is left",
		}, nil
	}
	return output.failure(s.Name, status.String()), nil
}

// asExpected tells whether the host is as the step leaves it, as far as it shows.
func (s Step) asExpected(observed State) bool {
	return s.Name != StepUpgrade || !s.target.Role.controlPlane() || len(staticPods(s.target, observed)) == 0
}

// edit changes a file and keeps its content of before, with its mode.
func edit(ctx context.Context, m host.Machine, a Action) error {
	content, err := m.ReadFile(ctx, a.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", a.Path, err)
	}
	changed, err := a.edit(string(content))
	if err != nil {
		return &Failure{Kind: KindOther, Cause: err.Error(), Hint: "resume: the file is looked at again"}
	}
	if changed == string(content) {
		return nil
	}
	result, err := m.Exec(ctx, []string{"stat", "--format=%a", "--", a.Path}, host.ExecOptions{})
	if err = host.Succeed(result, err); err != nil {
		return fmt.Errorf("look at the mode of %s: %w", a.Path, err)
	}
	mode, err := strconv.ParseUint(strings.TrimSpace(string(result.Stdout)), 8, 32)
	if err != nil {
		return fmt.Errorf("look at the mode of %s: %w", a.Path, err)
	}
	perm := fs.FileMode(mode) & fs.ModePerm
	if err := m.WriteFile(ctx, a.Keep, content, perm); err != nil {
		return fmt.Errorf("keep %s as %s: %w", a.Path, a.Keep, err)
	}
	if err := m.WriteFile(ctx, a.Path, []byte(changed), perm); err != nil {
		return fmt.Errorf("write %s: %w", a.Path, err)
	}
	return nil
}

// colours are what kubeadm's preflight checks write whether or not somebody sees them
// (k8s.io/system-validators).
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// tail keeps the last lines of what a command writes.
type tail struct {
	out   host.Output
	lines []string
}

func (t *tail) add(line string) {
	line = colours.ReplaceAllString(line, "")
	if t.out != nil {
		t.out(line)
	}
	if len(t.lines) == keptLines {
		t.lines = slices.Delete(t.lines, 0, keptLines/2)
	}
	t.lines = append(t.lines, line)
}

func (t *tail) shown() []string {
	return slices.Clone(t.lines[max(0, len(t.lines)-shownLines):])
}

func (t *tail) failure(step StepName, status string) *Failure {
	f := explain(step, status, t.lines)
	f.Output = t.shown()
	return f
}

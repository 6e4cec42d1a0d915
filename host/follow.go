// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k8s.io/utils/clock"
)

const (
	// followLook is after how many seconds a command that follows a unit's output
	// ends, so that the unit itself is looked at again: the process that it waits for
	// could have become another one of the same number.
	followLook = 30
	// retryFirst and retryMost are how long to wait after a connection was lost.
	retryFirst = 500 * time.Millisecond
	retryMost  = 15 * time.Second
)

// RunUnit starts u on m, or attaches to it if it was started before, follows its
// output line by line until it has ended, and returns what came of it: UnitEnded or
// UnitLost. Lines that were written before it attached come too; out may be nil.
//
// A connection that is lost is tried again until ctx ends, if the error says with
// OutOfReach() that it may come back; lost hears of each such error and may be nil.
// When ctx ends, the unit goes on, and the error is the context's cause.
func RunUnit(ctx context.Context, m Machine, u Unit, out Output, clk clock.Clock, lost func(error)) (UnitStatus, error) {
	return follow(ctx, follower{m: m, unit: u, out: out}, clk, lost)
}

// FollowUnit is RunUnit for a unit that somebody has started, with whatever command: it
// only goes by the name, and starts nothing. A unit that is not there is UnitLost.
func FollowUnit(ctx context.Context, m Machine, u Unit, out Output, clk clock.Clock, lost func(error)) (UnitStatus, error) {
	return follow(ctx, follower{m: m, unit: u, out: out, started: true}, clk, lost)
}

func follow(ctx context.Context, f follower, clk clock.Clock, lost func(error)) (UnitStatus, error) {
	wait := retryFirst
	for {
		status, err := f.look(ctx)
		switch {
		case err == nil && status.State != UnitRunning:
			return status, nil
		case err == nil && status.PID > 0:
			wait = retryFirst
			continue
		case ctx.Err() != nil:
			return UnitStatus{}, fmt.Errorf("unit %s goes on by itself: %w", f.unit.Name, context.Cause(ctx))
		case err != nil && !Temporary(err):
			return UnitStatus{}, err
		case err != nil && lost != nil:
			lost(err)
		}
		timer := clk.NewTimer(wait)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, retryMost)
	}
}

// Temporary tells whether err came from a connection that may work later: it was
// refused or lost, or there was no answer in time. A machine that refuses the login,
// and a host key that is not the known one, are not temporary.
func Temporary(err error) bool {
	var e interface{ OutOfReach() bool } // errors of package net have a Temporary, which means less
	return errors.As(err, &e) && e.OutOfReach()
}

// follower follows the output of a unit over as many connections as it takes.
type follower struct {
	m       Machine
	unit    Unit
	out     Output
	started bool
	lines   int // whole lines that were handed out
}

// look starts the unit or looks at it, and hands out what it has written since the
// last look, for a while if it is running.
func (f *follower) look(ctx context.Context) (UnitStatus, error) {
	look := f.unit.Status
	if !f.started {
		look = f.unit.Start
	}
	status, err := look(ctx, f.m)
	if err != nil {
		return status, err
	}
	f.started = true
	if status.State == UnitAbsent { // the machine was booted, or somebody removed it
		return UnitStatus{State: UnitLost}, nil
	}
	return status, f.read(ctx, status)
}

// read hands out the lines that were not yet; of a unit that runs also those that it
// writes until it ends, but not for longer than followLook.
func (f *follower) read(ctx context.Context, status UnitStatus) error {
	argv := []string{"tail", "-n", "+" + strconv.Itoa(f.lines+1)}
	if status.State == UnitRunning && status.PID > 0 {
		argv = append([]string{"timeout", strconv.Itoa(followLook)}, argv...)
		argv = append(argv, "-f", "-s", "0.2", "--pid="+strconv.Itoa(status.PID))
	}
	argv = append(argv, "--", f.unit.file(".log"))
	result, err := f.m.Exec(ctx, argv, ExecOptions{Output: func(line string) {
		f.lines++
		if f.out != nil {
			f.out(line)
		}
	}})
	if n := len(result.Stdout); n > 0 && result.Stdout[n-1] != '\n' && status.State == UnitRunning {
		f.lines-- // the line was not whole yet: it comes again
	}
	if err == nil && result.Code != 0 && result.Code != timedOut && status.State != UnitLost {
		err = Succeed(result, nil)
	}
	if err != nil {
		return fmt.Errorf("follow unit %s: %w", f.unit.Name, err)
	}
	return nil
}

// timedOut is the exit status of timeout(1) when it ended its command.
const timedOut = 124

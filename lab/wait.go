// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// poll asks done again and again until it says yes or fails, or ctx ends.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// within runs do, which has to be done with in limit.
func within(ctx context.Context, limit time.Duration, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %s", limit))
	defer cancel()
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// lastLines returns the end of a log, for an error.
func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}

// lock keeps other commands away from the labs: they share the engine and the
// cache. The returned function lets them. The end of the process unlocks too.
func lock(ctx context.Context, progress Progress) (func(), error) {
	if os.Geteuid() != 0 {
		return nil, hint.Wrap(fmt.Errorf("a lab's machines are made by root"), "run it as root, for example with sudo -E")
	}
	path, err := statedir.Path("labs", ".lock")
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	first := true
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil && err != syscall.EWOULDBLOCK {
			return false, err
		}
		if err != nil && first {
			progress.say("waiting: another command is at work on a lab")
			first = false
		}
		return err == nil, nil
	})
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

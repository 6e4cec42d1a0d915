// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/hint"
)

// lockFile is where the lock on what a command is about is; "" if there is none.
func (x *Exec) lockFile(about string) string {
	switch {
	case about == aboutPlane:
		return x.Plane
	case about == "" || x.Dir == "":
		return ""
	}
	return filepath.Join(x.Dir, fileName(about))
}

// lock takes the lock on what a command is about, and waits for one that has it, after one call of busy.
func (x *Exec) lock(ctx context.Context, about string, busy func()) (*os.File, error) {
	file := x.lockFile(about)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("make room for locks: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", about, err)
	}
	tick := x.Clock.NewTicker(lockPoll)
	defer tick.Stop()
	for told := false; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", about, err), f.Close())
		case !told && errors.Is(err, unix.EWOULDBLOCK):
			told = true
			busy()
		}
		select {
		case <-tick.C():
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, errTime) {
				return nil, errors.Join(cause, f.Close())
			}
			what := "the same machine (" + about + ")"
			if about == aboutPlane {
				what = "the " + about
			}
			return nil, errors.Join(hint.Wrap(fmt.Errorf("a command about %s, begun earlier, still runs", what),
				"see what it waits for; it is one of the provider's commands, without a refit above it"), f.Close())
		}
	}
}

// fileName makes one of any text.
func fileName(about string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, about) + "-" + digest(about) + ".lock"
}

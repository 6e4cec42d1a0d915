// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package demo

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// ErrRunning says that another demo is at work; it owns the cluster.
var ErrRunning = errors.New("another demo is running")

// lock keeps other demos of the same state directory away until unlock, or
// until the process ends, however it does.
func lock() (unlock func(), err error) {
	path, err := statedir.Path("demo.lock")
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the demo: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return func() { _ = file.Close() }, nil
	}
	_ = file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, hint.Wrap(ErrRunning, "wait for it to end, or set %s to another directory", statedir.Env)
	}
	return nil, fmt.Errorf("lock the demo: %w", err)
}

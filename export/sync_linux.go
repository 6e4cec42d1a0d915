// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncFile leaves it to syncAll: to sync ten thousand files one by one takes minutes on a disk.
func syncFile(*os.File) error { return nil }

// syncAll has everything that was written below a directory on disk.
func syncAll(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// lock keeps other exports away from a directory until the function that it returns is called, or the process ends.
func lock(root *os.Root) (func(), error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return func() { _ = f.Close() }, nil // it was read from alone
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, directoryError{errors.New("another export writes into it at this moment")}
	}
	return nil, fmt.Errorf("lock %s: %w", root.Name(), err)
}

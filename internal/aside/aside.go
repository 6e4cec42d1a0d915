// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package aside

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// File makes an empty file in dir, for its owner alone. Its name is prefix and a number.
func File(dir, prefix string) (*os.File, error) {
	Sweep(dir, prefix, nil)
	for {
		f, err := os.CreateTemp(dir, prefix+"*")
		if err != nil {
			return nil, err
		}
		if own(f) {
			return f, nil
		}
		_ = f.Close() // it was swept away by another process, which took it for left
	}
}

// Dir makes an empty directory in dir, for its owner alone. Its name is prefix and a
// number. remove has to be called in the end.
func Dir(dir, prefix string) (path string, remove func() error, err error) {
	Sweep(dir, prefix, nil)
	return Kept(dir, prefix)
}

// Kept is Dir without a sweep, for directories that may have to outlive their process: who
// makes them knows which, and calls Sweep.
func Kept(dir, prefix string) (path string, remove func() error, err error) {
	for {
		if path, err = os.MkdirTemp(dir, prefix); err != nil {
			return "", nil, err
		}
		f, err := os.Open(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, errors.Join(err, os.Remove(path))
		}
		if err == nil && own(f) {
			return path, func() error { return errors.Join(os.RemoveAll(path), f.Close()) }, nil
		}
		_ = f.Close()
	}
}

// own locks what was just made, beside others that read it, and tells whether it is there
// still. On file systems without locks nothing is ever swept.
func own(f *os.File) bool {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return false
	}
	return same(f)
}

// same tells whether a file has its name still.
func same(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(opened, named)
}

// Sweep removes what processes have left in dir that were killed, but for what keep, if it is not
// nil, says is needed still. What cannot be removed stays: nothing depends on it.
func Sweep(dir, prefix string, keep func(path string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // whoever wants to make something there will see
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), prefix)
		if ours && number != "" && strings.Trim(number, "0123456789") == "" {
			if path := filepath.Join(dir, e.Name()); keep == nil || !keep(path) {
				sweepOne(path)
			}
		}
	}
}

func sweepOne(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && same(f) {
		_ = os.RemoveAll(path)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What is made aside, a file or a directory, is locked as long as the process lives that
// makes it. So whoever makes the next one of that kind can tell what a killed process has
// left there, and removes it.

// asideFile makes an empty file in dir, for its owner alone. Its name is prefix and a number.
func asideFile(dir, prefix string) (*os.File, error) {
	sweep(dir, prefix)
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

// asideDir makes an empty directory in dir, for its owner alone. Its name is prefix and a
// number. remove has to be called in the end.
func asideDir(dir, prefix string) (path string, remove func() error, err error) {
	sweep(dir, prefix)
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

// sweep removes what processes have left in dir that were killed. What cannot be removed
// stays: nothing depends on it.
func sweep(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // whoever wants to make something there will see
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), prefix)
		if ours && number != "" && strings.Trim(number, "0123456789") == "" {
			sweepOne(filepath.Join(dir, e.Name()))
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

// publish gives what was made aside its final name, which nothing may have: what is there is
// never overwritten, whoever has put it there meanwhile.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EEXIST):
		return taken(to)
	case !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS):
		if err != nil {
			err = &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return err
	}
	// A file system that cannot do it (rename(2)): NFS is one.
	if err := absent(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// publishSynced publishes, and makes it outlive a loss of power. After an error nothing has
// the name that was to be given.
func publishSynced(from, to string) error {
	if err := publish(from, to); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return errors.Join(fmt.Errorf("sync the directory: %w", err), os.RemoveAll(to))
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

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

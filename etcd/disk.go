// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/aside"
)

// disk is where a snapshot is written to.
type disk interface {
	// Create makes a file aside, see aside.File.
	Create(dir, prefix string) (output, error)
	// Publish gives it its final name for good, see publishSynced.
	Publish(from, to string) error
}

// output is a file that is written from its beginning to its end.
type output interface {
	io.WriteCloser
	Name() string
	// Sync returns when all of it outlives a loss of power.
	Sync() error
}

type localDisk struct{}

func (localDisk) Create(dir, prefix string) (output, error) {
	f, err := aside.File(dir, prefix)
	if err != nil {
		return nil, err
	}
	return &eager{File: f}, nil
}

func (localDisk) Publish(from, to string) error { return publishSynced(from, to) }

// eager is a file that the kernel begins to write to the disk while more of it comes:
// otherwise it waits until there is much, or somebody waits for all of it.
type eager struct {
	*os.File
	written, begun int64
}

// ahead is how many bytes are begun to be written at once.
const ahead = 8 << 20

func (e *eager) Write(p []byte) (int, error) {
	n, err := e.File.Write(p)
	e.written += int64(n)
	if e.written-e.begun >= ahead {
		// It promises nothing (sync_file_range(2)); Sync does, and tells of errors.
		_ = unix.SyncFileRange(int(e.Fd()), e.begun, e.written-e.begun, unix.SYNC_FILE_RANGE_WRITE)
		e.begun = e.written
	}
	return n, err
}

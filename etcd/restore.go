// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
)

// Restore says which member of which new cluster a snapshot is restored for. All members
// are restored from the same file with the same Token and InitialCluster.
type Restore struct {
	// DataDir is the directory to make; it must not be there.
	DataDir string `json:"dataDir"`
	Name    string `json:"name"`
	// PeerURLs are where the other members reach this one.
	PeerURLs []string `json:"peerURLs"`
	// InitialCluster is "NAME=PEER-URL,..." of all members.
	InitialCluster string `json:"initialCluster"`
	Token          string `json:"token"`
	// SHA256 is what the snapshot has to end with, in hexadecimal; "" takes any.
	SHA256 string `json:"sha256,omitempty"`
	// BumpRevision is added to the revision, and all up to there is marked as compacted,
	// so that watches of the time before start over instead of missing changes.
	// The maintainers of etcd say 1,000,000,000 at least under a living cluster
	// (https://etcd.io/docs/v3.6/op-guide/recovery/). 0 leaves the revision as it is.
	BumpRevision uint64 `json:"bumpRevision,omitempty"`
}

// LogSpace is what etcd allocates for its write-ahead log beside the database, with some
// room: two files of 64 MB (go.etcd.io/etcd/server/v3/storage/wal, SegmentSizeBytes).
const LogSpace = 128 << 20

// Restore makes a data directory from the file of a snapshot: aside, synced, and renamed,
// so that DataDir is whole if it is there. It takes as much disk as the snapshot has bytes,
// and 128 MiB. The error is ErrDamaged if the snapshot is not whole, or has no SHA-256.
func (w Worker) Restore(ctx context.Context, file string, r Restore) (err error) {
	if r.DataDir, err = filepath.Abs(r.DataDir); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	if err := isFile(file); err != nil {
		return err
	}
	if err := absent(r.DataDir); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	parent := filepath.Dir(r.DataDir)
	if err := room(file, parent); err != nil {
		return err
	}
	made, remove, err := aside.Dir(parent, "."+filepath.Base(r.DataDir)+".refit-")
	if err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	final := r.DataDir
	r.DataDir = filepath.Join(made, "data")
	if _, err := w.ask(ctx, file, request{Restore: &restoreRequest{File: file, Options: r}}); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := syncTree(r.DataDir); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	if err := publishSynced(r.DataDir, final); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	return nil
}

// restore is what a worker does.
func restore(file string, r Restore) error {
	f, size, err := openSnapshot(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if size%sector == 0 {
		return hint.Wrap(fmt.Errorf("%s: %w: it does not end with a SHA-256", file, ErrDamaged),
			"either it was cut off, or it is a copy of a database; save a snapshot with `refit backup save`")
	}
	got, err := claimedSum(f, file, size)
	if err != nil {
		return err
	}
	if r.SHA256 != "" && got != r.SHA256 {
		return hint.Wrap(fmt.Errorf("%s is another snapshot than before: it ends with the SHA-256 %s, not %s", file, got, r.SHA256), "put the one back that was there")
	}
	err = snapshot.NewV3(quiet()).Restore(snapshot.RestoreConfig{
		// The file that was looked at, whatever has its name now.
		SnapshotPath: fmt.Sprintf("/proc/self/fd/%d", f.Fd()), Name: r.Name, OutputDataDir: r.DataDir, PeerURLs: r.PeerURLs,
		InitialCluster: r.InitialCluster, InitialClusterToken: r.Token,
		RevisionBump: r.BumpRevision, MarkCompacted: r.BumpRevision > 0,
	})
	if err == nil {
		return nil // the copy was compared with the SHA-256: so the file needs not be read for that before
	}
	if _, damaged := checkSum(f, file, size); damaged != nil {
		return damaged
	}
	return fmt.Errorf("%s: %w", file, err)
}

// quiet is a logger that writes nothing and never ends the process: what etcd's libraries
// take for fatal is a panic.
func quiet() *zap.Logger {
	return zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
}

func absent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return taken(path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// taken says that there is something where something was to be made.
func taken(path string) error {
	return hint.Wrap(fmt.Errorf("%s: %w", path, fs.ErrExist), "name one that is not there, or move it away: nothing is ever overwritten")
}

// room looks whether a directory's disk has place for a restored file.
func room(file, dir string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("look how much place there is in %s: %w", dir, err)
	}
	free, want := int64(disk.Bavail)*disk.Bsize, info.Size()+LogSpace
	if free < want {
		return hint.Wrap(fmt.Errorf("%s has %d MiB of free disk; restoring %s takes %d MiB", dir, free>>20, file, want>>20),
			"free some, or choose another disk")
	}
	return nil
}

// syncTree makes a directory and all that is in it outlive a loss of power.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncDir(path)
	})
}

// syncDir syncs a directory, or a file.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

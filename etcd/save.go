// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

// Saved tells of a snapshot that was saved.
type Saved struct {
	File string `json:"file"`
	// Bytes is the size of the file, SHA256 what it ends with, in hex.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Revision is that of the last change in it.
	Revision int64 `json:"revision"`
	// Endpoint, Member, MemberID, ClusterID (in hex) and Version are those of the member
	// that gave it; StorageVersion is "" before etcd 3.6.
	Endpoint       string        `json:"endpoint"`
	Member         string        `json:"member"`
	MemberID       string        `json:"memberID"`
	ClusterID      string        `json:"clusterID"`
	Version        string        `json:"version"`
	StorageVersion string        `json:"storageVersion,omitempty"`
	Took           time.Duration `json:"-"`
	// Seconds is Took.
	Seconds float64 `json:"seconds"`
}

// Saver saves snapshots.
type Saver struct {
	Access Access
	Worker Worker
	Clock  clock.PassiveClock
	// Progress hears how many bytes of about how many have come; it may be nil.
	Progress func(done, about int64)

	disk disk // the one of this machine, but in tests
}

// Save streams a snapshot from the member that is fittest to a file, which must not be
// there. The content is written aside (mode 0600, in the same directory), compared with the
// SHA-256 that etcd sends at the end, synced and renamed: what has the file's name is whole.
func (s Saver) Save(ctx context.Context, file string) (saved *Saved, err error) {
	began := s.Clock.Now()
	if err := absent(file); err != nil {
		return nil, err
	}
	if s.disk == nil {
		s.disk = localDisk{}
	}
	aside, err := s.disk.Create(filepath.Dir(file), asidePrefix(file))
	if err != nil {
		return nil, fmt.Errorf("save a snapshot to %s: %w", file, noRoom(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(aside.Name())) // it may not have that name any more
		}
		_ = aside.Close() // what it holds was synced; now its name is anybody's to sweep
	}()
	candidates, err := s.Access.Candidates(ctx)
	if err != nil {
		return nil, err
	}
	from, err := choose(candidates)
	if err != nil {
		return nil, err
	}
	saved = &Saved{
		File: file, Endpoint: from.Endpoint, Member: from.Name, MemberID: memberID(from.ID), ClusterID: memberID(from.Cluster), Version: from.Version,
	}
	if err := s.stream(ctx, from, saved, aside); err != nil {
		return nil, fmt.Errorf("save a snapshot of etcd at %s to %s: %w", from.Endpoint, file, err)
	}
	if saved.Revision, err = s.Worker.lastRevision(ctx, aside.Name()); err != nil {
		return nil, err
	}
	if err := s.disk.Publish(aside.Name(), file); err != nil {
		return nil, fmt.Errorf("save a snapshot to %s: %w", file, noRoom(err))
	}
	saved.Took = s.Clock.Since(began)
	saved.Seconds = saved.Took.Seconds()
	return saved, nil
}

// asidePrefix is what the names begin with under which a file comes to be.
func asidePrefix(file string) string { return "." + filepath.Base(file) + ".refit-" }

// stream fills the file.
func (s Saver) stream(ctx context.Context, from Candidate, saved *Saved, to output) error {
	client, err := s.Access.connect(ctx, from.Endpoint)
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask for a snapshot: %w", err)
	}
	defer answer.Snapshot.Close()
	saved.StorageVersion = answer.Version
	sum := newSum()
	defer sum.stop()
	if saved.Bytes, err = s.copy(to, answer.Snapshot, from.Size, sum); err != nil {
		return err
	}
	if saved.Bytes%sector != sha256.Size {
		return fmt.Errorf("the stream ended after %d bytes, without its SHA-256", saved.Bytes)
	}
	got, said := sum.sums()
	if got != said {
		return hint.Wrap(errors.New("what arrived does not have the SHA-256 that etcd sent at the end"), "save it again; look at the network and the memory of the machines if it happens twice")
	}
	saved.SHA256 = hex.EncodeToString(got[:])
	if err := to.Sync(); err != nil {
		return noRoom(fmt.Errorf("sync: %w", err))
	}
	return nil
}

// chunk is how many bytes are written at once.
const chunk = 1 << 20

// copy writes what comes, while what was written before is hashed.
func (s Saver) copy(to io.Writer, from io.Reader, about int64, sum *sum) (int64, error) {
	var total int64
	for {
		buffer := sum.buffer()
		n, err := io.ReadFull(from, buffer)
		buffer = buffer[:n]
		total += int64(n)
		if n > 0 {
			if _, err := to.Write(buffer); err != nil {
				return total, noRoom(err)
			}
			sum.add(buffer)
		}
		if s.Progress != nil {
			s.Progress(total, about)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return total, nil
		case err != nil:
			return total, fmt.Errorf("read the stream: %w", err)
		}
	}
}

// noRoom tells what to do about a full disk.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return hint.Wrap(err, "the disk is full: free some, or save to another one; nothing was kept")
	}
	return err
}

// lastRevision has a worker read the revision of the last change in a file.
func (w Worker) lastRevision(ctx context.Context, file string) (int64, error) {
	answer, err := w.ask(ctx, file, request{Last: &fileRequest{File: file}})
	if err != nil {
		return 0, err
	}
	return answer.Revision, nil
}

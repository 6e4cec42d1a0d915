// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/vault/pages"
	"refit.dev/refit/vault/seal"
)

// Reader reads sets.
type Reader struct {
	Store *Store
	// By are the keys to decrypt with.
	By seal.Identities
	// Trust is whose signature is asked for; nil takes all.
	Trust *Verifier
	// Scratch is a directory for what is not needed any more in the end, "" the system's.
	Scratch string
}

// scratch makes a directory in one, "" for the system's, and sweeps away what was left there by
// processes that were killed: what is put there is not encrypted. remove has to be called in the end.
func scratch(in, prefix string) (dir string, remove func() error, err error) {
	dir, remove, err = aside.Dir(cmp.Or(in, os.TempDir()), prefix)
	if err != nil {
		err = fmt.Errorf("make a scratch directory: %w", err)
	}
	return dir, remove, err
}

// Snapshot makes the file of a set's snapshot, which must not be there: aside, for this user
// alone, compared with the SHA-256 of the manifest, synced and renamed. A delta takes twice the disk for a while.
func (r Reader) Snapshot(ctx context.Context, m *Manifest, file string) (err error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s: %w", file, fs.ErrExist), err)
	}
	need := m.Snapshot.Bytes
	if m.Base != nil {
		need += m.Base.Bytes
	}
	dir, remove, err := roomFor(need, filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("fetch set %s: %w", m.Name, err)
	}
	defer func() { err = errors.Join(err, remove()) }()
	made := filepath.Join(dir, "snapshot")
	if m.Base == nil {
		err = r.full(ctx, m, made)
	} else {
		err = r.delta(ctx, m, dir, made)
	}
	if err != nil {
		return fmt.Errorf("fetch set %s: %w", m.Name, err)
	}
	if err := os.Rename(made, file); err != nil {
		return fmt.Errorf("fetch set %s: %w", m.Name, err)
	}
	return syncPath(filepath.Dir(file))
}

func (r Reader) full(ctx context.Context, m *Manifest, file string) error {
	return write(file, m.Snapshot, func(w io.Writer) error {
		return r.part(ctx, m, snapshotPart, func(content io.Reader, alive func() error) error {
			_, err := io.CopyBuffer(&busy{w, alive}, content, make([]byte, 1<<20))
			return err
		})
	})
}

// delta makes the file of a delta, and that of its base before.
func (r Reader) delta(ctx context.Context, m *Manifest, dir, file string) error {
	base, _, err := r.Store.Find(ctx, m.Base.Name, r.Trust)
	if err == nil && !m.Base.is(base) {
		err = errAnotherBase
	}
	before := filepath.Join(dir, "base")
	if err == nil {
		err = r.full(ctx, base, before)
	}
	if err != nil {
		return fmt.Errorf("the full that it needs, %s: %w", m.Base.Name, err)
	}
	f, err := os.Open(before)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(file, m.Snapshot, func(w io.Writer) error {
		return r.part(ctx, m, snapshotPart, func(content io.Reader, alive func() error) error {
			err := pages.Apply(&busy{w, alive}, m.Snapshot.Bytes, f, base.Snapshot.Bytes, content)
			switch {
			case errors.Is(err, pages.ErrCorrupt):
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			case errors.Is(err, pages.ErrFormat):
				err = hint.Wrap(fmt.Errorf("%w: %w", ErrFormat, err), "refit %q has written it, and reads it; save another set with this one", m.Versions.Refit)
			}
			return err
		})
	})
}

// Files reads the files of a set, nil if it has none.
func (r Reader) Files(ctx context.Context, m *Manifest) (files []File, err error) {
	if _, ok := m.part(filesPart); !ok {
		return nil, nil
	}
	err = r.part(ctx, m, filesPart, func(content io.Reader, _ func() error) error {
		files, err = readFiles(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fetch set %s: %w", m.Name, err)
	}
	if len(files) != len(m.Files) {
		return nil, fmt.Errorf("fetch set %s: %w: it has %d files, and %d in its manifest", m.Name, ErrDamaged, len(files), len(m.Files))
	}
	return files, nil
}

// part reads a part of a set, and compares it with the manifest. What use does with it
// counts only if the error is nil.
func (r Reader) part(ctx context.Context, m *Manifest, name string, use func(content io.Reader, alive func() error) error) error {
	p, ok := m.part(name)
	if !ok {
		return fmt.Errorf("%w: it has no part %q", ErrDamaged, name)
	}
	// What was cut is told as that, before a store's own library complains about the stream.
	if err := r.Store.sized(ctx, dataKey(m.Name, name), p); err != nil {
		return err
	}
	return r.Store.get(ctx, dataKey(m.Name, name), func(stored io.Reader, alive func() error) error {
		seen := &gauge{from: stored, hash: sha256.New()}
		err := func() error {
			content, err := seal.Reader(seen, m.Encrypted(), r.By)
			if err != nil {
				return err
			}
			defer content.Close()
			return use(content, alive)
		}()
		if errors.Is(err, seal.ErrNoKey) {
			return hint.Wrap(fmt.Errorf("%w: %s", err, name), "give the private key of one of its recipients with --identity: %s", strings.Join(m.Recipients, ", "))
		}
		// Whoever could not make sense of it has not read to its end.
		if _, drained := io.Copy(io.Discard, seen); drained != nil {
			return drained
		}
		if sum := hex.EncodeToString(seen.hash.Sum(nil)); seen.bytes != p.Bytes || sum != p.SHA256 {
			return fmt.Errorf("%w: its part %q has %d bytes with the SHA-256 %s, and %d with %s in the manifest", ErrDamaged, name, seen.bytes, sum, p.Bytes, p.SHA256)
		}
		if err != nil && seen.failed == nil && !writing(err) && !errors.Is(err, ErrFormat) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err) // it is as it was written, and was never right
		}
		return err
	})
}

// gauge counts and hashes what is read.
type gauge struct {
	from   io.Reader
	bytes  int64
	hash   hash.Hash
	failed error
}

func (g *gauge) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	g.bytes += int64(n)
	g.hash.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		g.failed = err
	}
	return n, err
}

// writing tells whether it is this machine's disk that an error is about.
func writing(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	return path
}

// write makes a file for this user alone, which has to be as long and have the SHA-256 that was noted.
func write(path string, want Snapshot, fill func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	limited := &limit{to: io.MultiWriter(f, sum), left: want.Bytes}
	if err := fill(limited); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); limited.left != 0 || got != want.SHA256 {
		return fmt.Errorf("%w: the snapshot in it has %d bytes with the SHA-256 %s, and %d with %s in the manifest", ErrDamaged, want.Bytes-limited.left, got, want.Bytes, want.SHA256)
	}
	return f.Sync()
}

// limit takes no more than was noted, so that nothing that is damaged fills the disk.
type limit struct {
	to   io.Writer
	left int64
}

func (l *limit) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, fmt.Errorf("%w: it is longer than the manifest says", ErrDamaged)
	}
	n, err := l.to.Write(p)
	l.left -= int64(n)
	return n, err
}

// roomFor makes a directory beside where a file is to be, if there is place for so many bytes.
func roomFor(bytes int64, dir string) (path string, remove func() error, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return "", nil, fmt.Errorf("look how much place there is in %s: %w", dir, err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; free < bytes {
		return "", nil, hint.Wrap(fmt.Errorf("%s has %d MiB of free disk, and %d MiB are needed", dir, free>>20, bytes>>20), "free some, or choose another disk")
	}
	return aside.Dir(dir, ".refit-fetch-")
}

// Fetch makes a directory, which must not be there, with a set in it: snapshot.db, and below files
// those of the machine. It is made aside, for this user alone, and renamed.
func (r Reader) Fetch(ctx context.Context, name, to string) (_ *Manifest, err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(errors.Join(fmt.Errorf("%s: %w", to, fs.ErrExist), err), "name a directory that is not there yet")
	}
	m, _, err := r.Store.Find(ctx, name, r.Trust)
	if err != nil {
		return nil, err
	}
	dir, remove, err := aside.Dir(filepath.Dir(to), ".refit-fetch-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	whole := filepath.Join(dir, "set")
	if err := os.Mkdir(whole, 0o700); err != nil {
		return nil, err
	}
	files, err := r.Files(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := r.Snapshot(ctx, m, filepath.Join(whole, "snapshot.db")); err != nil {
		return nil, err
	}
	for _, f := range files {
		at := filepath.Join(whole, "files", filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return nil, err
		}
		if err := writeAside(at, f.Data, f.Mode&0o700|0o400); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(whole, to); err != nil {
		return nil, err
	}
	return m, syncPath(filepath.Dir(to))
}

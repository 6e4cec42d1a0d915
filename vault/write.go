// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/vault/pages"
	"refit.dev/refit/vault/seal"
)

// ErrOtherCluster says of a store that it holds the sets of another cluster.
var ErrOtherCluster = errors.New("the store holds the sets of another cluster")

// Content is what becomes a set.
type Content struct {
	// Begun is when it was begun to be taken, before the snapshot: a set is as old as that.
	Begun time.Time
	// File is that of a snapshot, Status what is in it, and Saved where it came from.
	File   string
	Status *etcd.Status
	Saved  *etcd.Saved
	// Base is the full that it becomes a delta of, and Index what tells what of it there is; both are nil
	// for a full.
	Base  *Manifest
	Index *pages.Index
	// Files are those of the machine called Machine.
	Files    []File
	Machine  string
	Versions Versions
}

// Writer writes sets.
type Writer struct {
	Store *Store
	To    seal.Recipients
	// Sign is nil if nothing is signed.
	Sign *Signer
}

// Write writes a set: its parts, and then its manifest. It returns the index of the snapshot's
// pages, so that later sets can be deltas of this one. After an error nothing is listed.
func (w Writer) Write(ctx context.Context, c Content) (*Manifest, *pages.Index, error) {
	begun := c.Begun.UTC()
	m := &Manifest{
		Format: format, Name: newName(begun), Created: begun, Cluster: c.cluster(),
		Resources: c.Status.Resources, Members: c.Status.Members, Versions: c.Versions,
		Source: Source{Endpoint: c.Saved.Endpoint, Member: c.Saved.Member, Machine: c.Machine},
		Files:  []FileInfo{}, Recipients: slices.Clone(w.To.Names()),
		Snapshot: Snapshot{
			Revision: c.Status.Revision, CompactRevision: c.Status.CompactRevision, Hash: c.Status.Hash, HashKV: c.Status.HashKV,
			Keys: c.Status.Keys, TotalKeys: c.Status.TotalKeys, Objects: c.Status.Objects(),
		},
	}
	if c.Base != nil {
		m.Base = &Base{Name: c.Base.Name, Bytes: c.Base.Snapshot.Bytes, SHA256: c.Base.Snapshot.SHA256}
	}
	if m.Recipients == nil {
		m.Recipients = []string{}
	}
	index, err := w.writeParts(ctx, m, c)
	if err == nil {
		err = w.publish(ctx, m)
	}
	if err != nil {
		// What was written is in nobody's way, and no worse than before if it stays. The manifest
		// goes first: it may be there although writing it failed.
		clean := context.WithoutCancel(ctx)
		if w.Store.unlist(clean, m.Name) == nil {
			for _, key := range []string{dataKey(m.Name, snapshotPart), dataKey(m.Name, filesPart)} {
				if w.Store.remove(clean, key) != nil {
					break
				}
			}
		}
		return nil, nil, fmt.Errorf("write set %s: %w", m.Name, err)
	}
	return m, index, nil
}

func (w Writer) writeParts(ctx context.Context, m *Manifest, c Content) (*pages.Index, error) {
	indexer := pages.NewIndexer()
	err := w.part(ctx, m, snapshotPart, func(to io.Writer, alive func() error) error { return w.snapshot(to, alive, m, c, indexer) })
	if err != nil {
		return nil, err
	}
	if c.Base == nil && m.Snapshot.Bytes == 0 {
		return nil, fmt.Errorf("%s is empty", c.File)
	}
	if len(c.Files) == 0 {
		return indexer.Index(), nil
	}
	files := slices.Clone(c.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		m.Files = append(m.Files, FileInfo{Path: f.Path, Bytes: int64(len(f.Data))})
	}
	return indexer.Index(), w.part(ctx, m, filesPart, func(to io.Writer, _ func() error) error { return writeFiles(to, files, m.Created) })
}

// part writes a part under its seal.
func (w Writer) part(ctx context.Context, m *Manifest, name string, fill func(to io.Writer, alive func() error) error) error {
	s, err := w.Store.put(ctx, dataKey(m.Name, name), func(to io.Writer, alive func() error) error {
		sealed, err := seal.Writer(to, w.To)
		if err != nil {
			return err
		}
		if err := fill(sealed, alive); err != nil {
			return errors.Join(err, sealed.Close()) // it may have goroutines
		}
		return sealed.Close()
	})
	if err != nil {
		return err
	}
	m.Parts = append(m.Parts, Part{Name: name, Bytes: s.bytes, SHA256: s.sum})
	return nil
}

// snapshot writes the snapshot, or its difference to the base, and notes what it has read. Of a
// snapshot that is nearly the same nothing may have to be written for long.
func (w Writer) snapshot(to io.Writer, alive func() error, m *Manifest, c Content, indexer *pages.Indexer) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	from, sum := &lively{f, alive}, sha256.New()
	if c.Base != nil {
		err = pages.Write(to, io.TeeReader(from, sum), info.Size(), c.Index)
		m.Snapshot.Bytes = info.Size()
	} else {
		m.Snapshot.Bytes, err = io.CopyBuffer(io.MultiWriter(to, sum, indexer), from, make([]byte, 1<<20))
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", c.File, err)
	}
	m.Snapshot.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// publish writes the manifest. A base that was removed meanwhile takes it with it.
func (w Writer) publish(ctx context.Context, m *Manifest) error {
	text, err := m.encode(w.Sign)
	if err != nil {
		return err
	}
	// Whether an object that was written is there in the end is known only now.
	if err := w.Store.whole(ctx, m); err != nil {
		return err
	}
	key := manifestKey(m.Name)
	err = w.Store.putSmall(ctx, key, text)
	if err == nil && m.Base != nil {
		if _, err = w.Store.getSmall(ctx, manifestKey(m.Base.Name), maxSmall); errors.Is(err, ErrNotFound) {
			err = hint.Wrap(fmt.Errorf("the full that it is a delta of, %s, was removed meanwhile: %w", m.Base.Name, err), "save again")
		}
	}
	if err != nil {
		return errors.Join(err, w.Store.unlist(context.WithoutCancel(ctx), m.Name))
	}
	return nil
}

// whole tells whether the parts of a set are there with the sizes that its manifest says.
func (s *Store) whole(ctx context.Context, m *Manifest) error {
	there, err := s.list(ctx, dataDir+"/"+m.Name+"/")
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, o := range there {
		sizes[o.key] = o.bytes
	}
	return m.missing(sizes)
}

// sized tells whether an object has the size that the manifest says.
func (s *Store) sized(ctx context.Context, key string, p Part) error {
	ctx, _, done := s.watched(ctx)
	defer done()
	there, err := s.bucket.Attributes(ctx, key)
	if err != nil {
		return s.failed(ctx, "look at", key, err)
	}
	if there.Size != p.Bytes {
		return fmt.Errorf("%w: its part %q has %d bytes instead of %d", ErrDamaged, p.Name, there.Size, p.Bytes)
	}
	return nil
}

// missing tells which part is not there, or of another size, in a listing.
func (m *Manifest) missing(sizes map[string]int64) error {
	for _, p := range m.Parts {
		got, ok := sizes[dataKey(m.Name, p.Name)]
		switch {
		case !ok:
			return fmt.Errorf("%w: its part %q is not there", ErrDamaged, p.Name)
		case got != p.Bytes:
			return fmt.Errorf("%w: its part %q has %d bytes instead of %d", ErrDamaged, p.Name, got, p.Bytes)
		}
	}
	return nil
}

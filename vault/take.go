// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/vault/pages"
)

// Taker takes sets of a cluster.
type Taker struct {
	Writer
	Etcd   etcd.Saver
	Worker etcd.Worker
	// Machine is one of the control plane, called Name; nil leaves its files out.
	Machine host.Machine
	Name    string
	// Refit is the version of this refit.
	Refit string
	// Indexes is a directory with the page hashes of fulls, which deltas are made by. They tell
	// something about what is in the pages, so they stay on this machine.
	Indexes string
	// Full asks for a full; otherwise one is taken if FullEvery has passed since the last
	// one, or if it is the cheaper choice in the end (pages.FullIsDue).
	Full      bool
	FullEvery time.Duration
	// Scratch is a directory in which the snapshot has place, "" the system's.
	Scratch string
	// SameCluster is somebody's word that the sets in the store are of this cluster, where neither they nor the
	// snapshot can tell.
	SameCluster bool
}

// Taken tells of a set that was taken.
type Taken struct {
	*Manifest
	// Took is how long it took.
	Took time.Duration `json:"-"`
	// Seconds is Took.
	Seconds float64 `json:"seconds"`
	// Why says why it is a full.
	Why string `json:"why,omitempty"`
	// Stored is how many bytes it takes.
	StoredBytes int64 `json:"storedBytes"`
	// Location is its URL.
	Location string `json:"location"`
}

// Take saves a snapshot, reads the machine's files, and writes a set of them.
func (t Taker) Take(ctx context.Context) (_ *Taken, err error) {
	began := t.Store.clock.Now()
	sets, err := t.Store.List(ctx, nil)
	if err != nil {
		return nil, err // better to know before the snapshot is taken
	}
	dir, remove, err := scratch(t.Scratch, "refit-save-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	c := Content{Begun: began, File: filepath.Join(dir, "snapshot.db"), Machine: t.Name}
	if c.Saved, err = t.Etcd.Save(ctx, c.File); err != nil {
		return nil, err
	}
	if t.Machine != nil {
		if c.Files, err = Collect(ctx, t.Machine); err != nil {
			return nil, fmt.Errorf("machine %s: %w", t.Name, err)
		}
	}
	var values map[string][]byte
	if c.Status, values, err = t.Worker.Look(ctx, c.File, slices.Collect(maps.Keys(inCluster()))...); err != nil {
		return nil, err
	}
	if err := sameCluster(sets, c.cluster(), t.SameCluster); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Store.where, err)
	}
	more, kubernetes := fromCluster(values)
	c.Versions = Versions{Refit: t.Refit, Etcd: c.Saved.Version, Storage: c.Saved.StorageVersion, Kubernetes: kubernetes}
	if t.Machine != nil {
		c.Files = append(c.Files, more...)
		c.Versions.Kubelet = kubeletVersion(ctx, t.Machine)
	}
	why := t.choose(sets, &c)
	m, index, err := t.Write(ctx, c)
	if err != nil {
		return nil, err
	}
	took := t.Store.clock.Since(began)
	taken := &Taken{Manifest: m, Took: took, Seconds: took.Seconds(), Why: why, StoredBytes: m.Stored(), Location: t.Store.where.Set(m.Name)}
	if m.Base == nil {
		err = t.keepIndex(m, index)
	}
	return taken, err
}

func kubeletVersion(ctx context.Context, m host.Machine) string {
	result, err := m.Exec(ctx, []string{"kubelet", "--version"}, host.ExecOptions{})
	version, ok := strings.CutPrefix(strings.TrimSpace(string(result.Stdout)), "Kubernetes ")
	if err != nil || result.Code != 0 || !ok {
		return "" // no kubelet is needed for a backup
	}
	return version
}

// choose makes it a delta where that can be and is worth it, and otherwise says why not.
func (t Taker) choose(sets []Entry, c *Content) (why string) {
	if t.Full {
		return "asked for"
	}
	var base *Manifest
	var by *Seal
	var deltas []int64
	for _, e := range slices.Backward(sets) {
		if e.Problem == "" && e.Manifest.Base == nil {
			base, by = e.Manifest, e.Seal
			break
		}
	}
	if base == nil {
		return "the first"
	}
	if t.Sign != nil && by.by(t.Sign.Verifier()) != nil {
		return "the last full is not signed by this key" // who asks for the signature could read no delta of it
	}
	for _, e := range sets {
		if e.Problem == "" && e.Manifest.Base != nil && e.Manifest.Base.Name == base.Name {
			deltas = append(deltas, e.Manifest.Stored())
		}
	}
	if age := t.Store.clock.Since(base.Created); age >= t.FullEvery {
		return fmt.Sprintf("the last full is %s old", age.Round(time.Minute))
	}
	if !slices.Equal(slices.Sorted(slices.Values(base.Recipients)), t.To.Names()) {
		return "the last full is encrypted to others"
	}
	index, err := t.index(base)
	if errors.Is(err, fs.ErrNotExist) {
		return "this machine has no page hashes of the last full"
	}
	if err != nil {
		return fmt.Sprintf("the page hashes of the last full cannot be used: %v", err)
	}
	added, err := addedTo(index, c.File)
	if err != nil {
		return fmt.Sprintf("the snapshot cannot be compared with the last full: %v", err)
	}
	// What is new is taken to compress as well as the rest.
	next := int64(float64(added) * float64(base.Stored()) / float64(base.Snapshot.Bytes))
	if pages.FullIsDue(base.Stored(), deltas, next) {
		return fmt.Sprintf("%d%% of the database is not in the last full", 100*added/max(1, c.Status.TotalSize))
	}
	c.Base, c.Index = base, index
	return ""
}

// addedTo is how many bytes of a file are not in the one of an index.
func addedTo(index *pages.Index, file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return pages.Added(f, index)
}

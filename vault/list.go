// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"refit.dev/refit/internal/hint"
)

// Entry is a set of a listing.
type Entry struct {
	Name string `json:"name"`
	// Manifest is nil if it cannot be read.
	Manifest *Manifest `json:"manifest,omitempty"`
	Seal     *Seal     `json:"seal,omitempty"`
	// Proof is nil if it was not proven that the set can be restored.
	Proof *Proof `json:"proof,omitempty"`
	// Unbelieved: there is a proof, which is not signed by whom is trusted.
	Unbelieved bool `json:"unbelieved,omitempty"`
	// Problem says why the set cannot be restored, or not be relied upon; "" if nothing is known of that.
	Problem string `json:"problem,omitempty"`
}

// atOnce is how many objects are read at once.
const atOnce = 16

// List lists all sets, the oldest first. trust is whose signatures are asked for; nil takes
// all, and sets that nobody has signed.
func (s *Store) List(ctx context.Context, trust *Verifier) ([]Entry, error) {
	manifests, err := s.list(ctx, manifestDir+"/")
	if err != nil {
		return nil, err
	}
	data, err := s.list(ctx, dataDir+"/")
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, o := range data {
		sizes[o.key] = o.bytes
	}
	entries := []Entry{}
	for _, o := range manifests {
		if name := nameOf(o.key); name != "" {
			entries = append(entries, Entry{Name: name})
		}
	}
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range entries {
		group.Go(func() error { return s.read(within, &entries[i], sizes, trust) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Manifest == nil && e.Problem == "" }) // gone meanwhile
	for i, e := range entries {
		if e.Problem != "" || e.Manifest.Base == nil {
			continue
		}
		base := e.Manifest.Base
		at := slices.IndexFunc(entries, func(b Entry) bool { return b.Name == base.Name })
		switch {
		case at < 0:
			entries[i].Problem = fmt.Sprintf("the full that it needs, %s, is not there", base.Name)
		case entries[at].Problem != "":
			entries[i].Problem = fmt.Sprintf("the full that it needs, %s: %s", base.Name, entries[at].Problem)
		case !base.is(entries[at].Manifest):
			entries[i].Problem = fmt.Sprintf("the full that it needs, %s: %v", base.Name, errAnotherBase)
		}
	}
	now := s.clock.Now()
	for i, e := range entries { // after the bases: a delta of such a full is none the worse
		if e.Problem == "" && ahead(e.Name, now) {
			entries[i].Problem = ErrAhead.Error() + ": the clock of who has saved it, or of this machine, is wrong"
		}
	}
	return entries, nil
}

// errAnotherBase says of a full that it is not the one that a delta was made of.
var errAnotherBase = fmt.Errorf("%w: it is another one than when the delta was made", ErrDamaged)

// ErrAhead says of a set that its date cannot be.
var ErrAhead = errors.New("it is dated in the future")

// maxAhead is how far clocks may be apart.
const maxAhead = time.Hour

// ahead tells whether a set is dated in the future. Its date decides what is removed, and which
// set is the latest: one that is ahead would be that for as long as it is.
func ahead(name string, now time.Time) bool {
	at, err := begunAt(name)
	return err == nil && at.After(now.Add(maxAhead))
}

// read fills in an entry. What is wrong with the set is a problem of its own, and no error.
func (s *Store) read(ctx context.Context, e *Entry, sizes map[string]int64, trust *Verifier) error {
	m, seal, err := s.manifest(ctx, e.Name, trust)
	if errors.Is(err, ErrNotFound) {
		return nil // removed since it was listed
	}
	if err == nil {
		e.Manifest, e.Seal = m, seal
		err = m.missing(sizes)
	}
	if err != nil {
		if ctx.Err() != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUntrusted) && !errors.Is(err, ErrNewer) {
			return err
		}
		e.Problem = err.Error()
		return nil
	}
	proof, by, err := s.anyProof(ctx, m, seal)
	switch {
	case err != nil || proof == nil:
	case by.by(trust) != nil:
		e.Unbelieved = true
	default:
		e.Proof = proof
	}
	return err
}

// manifest reads the manifest of a set.
func (s *Store) manifest(ctx context.Context, name string, trust *Verifier) (*Manifest, *Seal, error) {
	text, err := s.getSmall(ctx, manifestKey(name), maxSmall)
	if err != nil {
		return nil, nil, err
	}
	m, seal, err := decodeManifest(name, text)
	if err != nil {
		return nil, nil, err
	}
	if err := seal.by(trust); err != nil {
		return nil, nil, hint.Wrap(fmt.Errorf("set %s: %w", name, err), "do not restore it, unless you know better")
	}
	return m, seal, nil
}

// Find finds a set by its name, or the newest. The error is ErrNotFound if there is none.
func (s *Store) Find(ctx context.Context, name string, trust *Verifier) (*Manifest, *Seal, error) {
	if name == Latest {
		all, err := s.list(ctx, manifestDir+"/")
		if err != nil {
			return nil, nil, err
		}
		name = ""
		for _, o := range all {
			name = max(name, nameOf(o.key))
		}
		if name == "" {
			return nil, nil, hint.Wrap(fmt.Errorf("%s: %w: there are none at all", s.where, ErrNotFound), "refit backup save --to %s makes one", s.where)
		}
		if ahead(name, s.clock.Now()) {
			return nil, nil, hint.Wrap(fmt.Errorf("%s: nobody can tell which set is the latest: %s: %w", s.where, name, ErrAhead),
				"see that the clock of this machine is right; name the set that you want: refit backup list %s shows them", s.where)
		}
	}
	m, seal, err := s.manifest(ctx, name, trust)
	if errors.Is(err, ErrNotFound) {
		err = hint.Wrap(fmt.Errorf("%s: %w as %s", s.where, ErrNotFound, name), "refit backup list %s shows the sets", s.where)
	}
	return m, seal, err
}

// Status is what is known of a set without its keys: its manifest and its proof, nil if there is
// none. The error is ErrDamaged if a part is missing or of another size.
func (s *Store) Status(ctx context.Context, name string, trust *Verifier) (*Manifest, *Seal, *Proof, error) {
	m, seal, err := s.Find(ctx, name, trust)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := s.whole(ctx, m); err != nil {
		return nil, nil, nil, fmt.Errorf("set %s: %w", m.Name, err)
	}
	p, err := s.proof(ctx, m, seal, trust)
	return m, seal, p, err
}

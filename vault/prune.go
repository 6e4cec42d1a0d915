// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/vault/retention"
)

// orphanAge is how old an object without a manifest has to be before it is removed: until then
// its set may still be on its way.
const orphanAge = 24 * time.Hour

// Pruning is what a prune does.
type Pruning struct {
	// Sets are all sets, the newest first, and why they are kept.
	Sets []Pruned `json:"sets"`
	// Orphans are objects that belong to no set, sorted.
	Orphans []string `json:"orphans"`
	// Bytes is how much is freed.
	Bytes int64 `json:"bytes"`
}

// Pruned is what becomes of a set.
type Pruned struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Kind    string    `json:"kind"`
	Bytes   int64     `json:"bytes"`
	// Reasons say why it is kept; a set without any is removed.
	Reasons []string `json:"reasons"`
}

// PlanPrune decides what a prune does: it applies the policy to the sets of a store, and
// finds what was left of sets that were never finished or not removed to the end. Sets whose
// manifest cannot be read are kept, and with them every full, which they may need.
func (s *Store) PlanPrune(ctx context.Context, policy retention.Policy) (*Pruning, error) {
	if err := policy.Check(); err != nil {
		return nil, err
	}
	data, proofs, err := s.leftovers(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := s.List(ctx, nil) // after the data: what is published meanwhile is in it
	if err != nil {
		return nil, err
	}
	p := &Pruning{Sets: []Pruned{}, Orphans: []string{}}
	var sets []retention.Set
	unread := ""
	for _, e := range entries {
		if e.Manifest == nil {
			unread = e.Name
			p.Sets = append(p.Sets, Pruned{Name: e.Name, Kind: "unknown", Reasons: []string{"cannot be read: " + e.Problem}})
			continue
		}
		set := retention.Set{Name: e.Name, Created: e.Manifest.Created, Proven: e.Proof != nil && e.Problem == "", Broken: e.Problem != ""}
		if e.Manifest.Base != nil {
			set.Base = e.Manifest.Base.Name
		}
		sets = append(sets, set)
	}
	var named []string // sets that have a manifest, even if the store did not give it
	for _, e := range entries {
		named = append(named, e.Name)
	}
	for _, o := range proofs {
		if name := nameOf(o.key); strings.HasPrefix(o.key, manifestDir+"/") && name != "" && !slices.Contains(named, name) {
			named = append(named, name)
			unread = name
		}
	}
	for _, d := range retention.Decide(sets, policy) {
		m := entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Name == d.Name })].Manifest
		if unread != "" && d.Base == "" {
			d.Reasons = append(d.Reasons, "may be the base of "+unread)
		}
		if !d.Keep() {
			p.Bytes += m.Stored()
			d.Reasons = []string{}
		}
		p.Sets = append(p.Sets, Pruned{Name: d.Name, Created: d.Created, Kind: m.Kind(), Bytes: m.Stored(), Reasons: d.Reasons})
	}
	p.orphans(named, append(data, proofs...), s.clock.Now())
	return p, nil
}

// leftovers lists all that may belong to no set.
func (s *Store) leftovers(ctx context.Context) (data, rest []object, err error) {
	if data, err = s.list(ctx, dataDir+"/"); err != nil {
		return nil, nil, err
	}
	for _, dir := range []string{proofDir, manifestDir} {
		more, err := s.list(ctx, dir+"/")
		if err != nil {
			return nil, nil, err
		}
		rest = append(rest, more...)
	}
	return data, rest, nil
}

// orphans finds the objects that belong to no set and are old enough.
func (p *Pruning) orphans(sets []string, there []object, now time.Time) {
	known := map[string]bool{}
	for _, name := range sets {
		known[manifestKey(name)], known[proofKey(name)] = true, true
		for _, part := range []string{snapshotPart, filesPart} {
			known[dataKey(name, part)] = true
		}
	}
	for _, o := range there {
		if !known[o.key] && now.Sub(o.modified) >= orphanAge {
			p.Orphans = append(p.Orphans, o.key)
			p.Bytes += o.bytes
		}
	}
	slices.Sort(p.Orphans)
}

// Prune does what was planned: deltas first, and of each set the manifest first, so that a
// process that is killed leaves no set that is listed and cannot be restored. What it
// leaves is removed by the next one. done hears of each set.
func (s *Store) Prune(ctx context.Context, p *Pruning, done func(Pruned)) error {
	gone := slices.DeleteFunc(slices.Clone(p.Sets), func(x Pruned) bool { return len(x.Reasons) > 0 })
	slices.SortStableFunc(gone, func(a, b Pruned) int { return order(a) - order(b) })
	for _, x := range gone {
		if err := s.removeSet(ctx, x); err != nil {
			return fmt.Errorf("remove set %s: %w", x.Name, err)
		}
		if done != nil {
			done(x)
		}
	}
	for _, key := range p.Orphans {
		if err := s.remove(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// order is that in which kinds of sets are removed.
func order(x Pruned) int {
	if x.Kind == "full" {
		return 1
	}
	return 0
}

func (s *Store) removeSet(ctx context.Context, x Pruned) error {
	if x.Kind == "full" {
		// A delta of it may have been published since it was planned.
		needed, err := s.needed(ctx, x.Name)
		if err != nil || needed {
			return err
		}
	}
	if err := s.remove(ctx, manifestKey(x.Name)); err != nil {
		return err
	}
	var errs []error
	for _, key := range []string{proofKey(x.Name), dataKey(x.Name, snapshotPart), dataKey(x.Name, filesPart)} {
		errs = append(errs, s.remove(ctx, key))
	}
	return errors.Join(errs...)
}

// needed tells whether a set is a delta of a full, as far as sets can be read.
func (s *Store) needed(ctx context.Context, full string) (bool, error) {
	all, err := s.list(ctx, manifestDir+"/")
	if err != nil {
		return false, err
	}
	for _, o := range all {
		name := nameOf(o.key)
		if name <= full { // also what is none
			continue
		}
		m, _, err := s.manifest(ctx, name, nil)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return true, nil //nolint:nilerr // nobody knows what it needs
		case m.Base != nil && m.Base.Name == full:
			return true, nil
		}
	}
	return false, nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
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

	sizes map[string]int64 // of the orphans
}

// Pruned is what becomes of a set.
type Pruned struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Kind    string    `json:"kind"`
	Bytes   int64     `json:"bytes"`
	// Reasons say why it is kept; a set without any is removed.
	Reasons []string `json:"reasons"`
	// Untrusted: it is kept because it is not signed by whom is trusted, whatever the rules say.
	Untrusted bool `json:"untrusted,omitempty"`
}

// PlanPrune decides what a prune does: it applies the policy to the sets of a store, and
// finds what was left of sets that were never finished or not removed to the end. Sets whose
// manifest cannot be read are kept, and with them every full, which they may need. So are sets that are
// not signed by whom is trusted, with the full that they name; nil trusts all. Neither takes a place of others, nor does a
// set that is dated in the future.
func (s *Store) PlanPrune(ctx context.Context, policy retention.Policy, trust *Verifier) (*Pruning, error) {
	if err := policy.Check(); err != nil {
		return nil, err
	}
	data, proofs, err := s.leftovers(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := s.List(ctx, trust) // after the data: what is published meanwhile is in it
	if err != nil {
		return nil, err
	}
	p := &Pruning{Sets: []Pruned{}, Orphans: []string{}, sizes: map[string]int64{}}
	now := s.clock.Now()
	var sets []retention.Set
	var named []string           // sets that have a manifest, even if the store did not give it
	unread := ""                 // one of which nobody knows what it needs
	bases := map[string]string{} // fulls, and a set that says that it needs it
	for _, e := range entries {
		named = append(named, e.Name)
		if e.Manifest == nil {
			unread = p.keepUnread(ctx, s, e, bases, unread)
			continue
		}
		set := retention.Set{
			Name: e.Name, Created: e.Manifest.Created, Broken: e.Problem != "",
			Proven: e.Proof != nil && (e.Problem == "" || ahead(e.Name, now)),
		}
		if e.Manifest.Base != nil {
			set.Base = e.Manifest.Base.Name
		}
		sets = append(sets, set)
	}
	for _, o := range proofs {
		if name := nameOf(o.key); strings.HasPrefix(o.key, manifestDir+"/") && name != "" && !slices.Contains(named, name) {
			named = append(named, name)
			unread = name
		}
	}
	for _, d := range retention.Decide(sets, policy) {
		m := entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Name == d.Name })].Manifest
		switch {
		case d.Base == "" && bases[d.Name] != "":
			d.Reasons = append(d.Reasons, "base of "+bases[d.Name])
		case d.Base == "" && unread != "":
			d.Reasons = append(d.Reasons, "may be the base of "+unread)
		}
		if !d.Keep() {
			p.Bytes += m.Stored()
			d.Reasons = []string{}
		}
		p.Sets = append(p.Sets, Pruned{Name: d.Name, Created: d.Created, Kind: m.Kind(), Bytes: m.Stored(), Reasons: d.Reasons})
	}
	p.orphans(named, append(data, proofs...), now)
	return p, nil
}

// keepUnread keeps a set that cannot be read, or is of somebody who is not trusted: what that one says
// it needs is kept with it. It returns a set of which nobody knows what it needs, if that is one.
func (p *Pruning) keepUnread(ctx context.Context, s *Store, e Entry, bases map[string]string, unread string) string {
	kept := Pruned{Name: e.Name, Kind: "unknown", Reasons: []string{"cannot be read: " + e.Problem}}
	if m, _, err := s.manifest(ctx, e.Name, nil); err == nil {
		kept = Pruned{Name: e.Name, Created: m.Created, Kind: m.Kind(), Bytes: m.Stored(), Reasons: []string{"not trusted: " + e.Problem}, Untrusted: true}
		if m.Base != nil {
			bases[m.Base.Name] = e.Name
		}
	} else {
		unread = e.Name
	}
	p.Sets = append(p.Sets, kept)
	return unread
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
			p.sizes[o.key] = o.bytes
		}
	}
	slices.Sort(p.Orphans)
}

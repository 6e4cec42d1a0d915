// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"refit.dev/refit/internal/hint"
)

// Removed tells what a prune has removed.
type Removed struct {
	Sets, Leftovers int
	// Bytes is how much they took.
	Bytes int64
}

// Prune does what was planned: deltas first, and of each set the manifest first, so that a
// process that is killed leaves no set that is listed and cannot be restored. What it
// leaves is removed by the next one. A full that is needed by now, and a leftover that belongs to
// a set by now, are left alone. done hears of each set that was removed.
func (s *Store) Prune(ctx context.Context, p *Pruning, done func(Pruned)) (Removed, error) {
	var sum Removed
	gone := slices.DeleteFunc(slices.Clone(p.Sets), func(x Pruned) bool { return len(x.Reasons) > 0 })
	slices.SortStableFunc(gone, func(a, b Pruned) int { return order(a) - order(b) })
	for _, x := range gone {
		removed, err := s.removeSet(ctx, x)
		if err != nil {
			return sum, fmt.Errorf("remove set %s: %w", x.Name, err)
		}
		if !removed {
			continue
		}
		sum.Sets, sum.Bytes = sum.Sets+1, sum.Bytes+x.Bytes
		if done != nil {
			done(x)
		}
	}
	for _, key := range p.Orphans {
		belongs, err := s.belongs(ctx, key)
		if err != nil {
			return sum, err
		}
		if belongs {
			continue
		}
		if err := s.remove(ctx, key); err != nil {
			return sum, err
		}
		sum.Leftovers, sum.Bytes = sum.Leftovers+1, sum.Bytes+p.sizes[key]
	}
	return sum, nil
}

// belongs tells whether an object that was left over belongs to a set now: one may have been
// published since the plan, while somebody was asked; or a store has not listed all it has.
func (s *Store) belongs(ctx context.Context, key string) (bool, error) {
	name := nameOf(key)
	if name == "" || !slices.Contains([]string{dataKey(name, snapshotPart), dataKey(name, filesPart), proofKey(name)}, key) {
		return false, nil // what a writer has left aside
	}
	return s.listed(ctx, name)
}

// listed tells whether a set has a manifest.
func (s *Store) listed(ctx context.Context, name string) (bool, error) {
	ctx, _, done := s.watched(ctx)
	defer done()
	there, err := s.bucket.Exists(ctx, manifestKey(name))
	if err != nil {
		return false, s.failed(ctx, "look for", manifestKey(name), err)
	}
	return there, nil
}

// unlist removes the manifest of a set, and looks whether it is gone: as long as it is there,
// nothing else of the set may be removed.
func (s *Store) unlist(ctx context.Context, name string) error {
	if err := s.remove(ctx, manifestKey(name)); err != nil {
		return err
	}
	there, err := s.listed(ctx, name)
	if err == nil && there {
		err = hint.Wrap(fmt.Errorf("%s: %s is there still, although the store said that it was removed", s.where, manifestKey(name)), "see whether the store keeps what is removed; the set is whole still")
	}
	return err
}

// order is that in which kinds of sets are removed.
func order(x Pruned) int {
	if x.Kind == "full" {
		return 1
	}
	return 0
}

// removeSet removes a set, unless it is a full that is needed.
func (s *Store) removeSet(ctx context.Context, x Pruned) (removed bool, err error) {
	var manifest []byte
	if x.Kind == "full" {
		// A delta of it may have been published since it was planned.
		if needed, err := s.needed(ctx, x.Name); err != nil || needed {
			return false, err
		}
		manifest, err = s.getSmall(ctx, manifestKey(x.Name), maxSmall)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	if err := s.unlist(ctx, x.Name); err != nil {
		return false, err
	}
	if manifest != nil {
		// Whoever writes a delta looks for its full afterwards: one of the two sees the other.
		if needed, err := s.needed(ctx, x.Name); err != nil || needed {
			return false, errors.Join(err, s.putSmall(context.WithoutCancel(ctx), manifestKey(x.Name), manifest))
		}
	}
	var errs []error
	for _, key := range []string{proofKey(x.Name), dataKey(x.Name, snapshotPart), dataKey(x.Name, filesPart)} {
		errs = append(errs, s.remove(ctx, key))
	}
	return true, errors.Join(errs...)
}

// needed tells whether a set is a delta of a full, as far as sets can be read.
func (s *Store) needed(ctx context.Context, full string) (bool, error) {
	all, err := s.list(ctx, manifestDir+"/")
	if err != nil {
		return false, err
	}
	for _, o := range all {
		name := nameOf(o.key)
		if name == "" || name == full { // a delta has an earlier name if a clock was set back
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

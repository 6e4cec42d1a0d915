// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/vault/retention"
)

func epoch() time.Time { return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC) }

func tarOf(t *testing.T, kind byte, name, link string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	must(t, w.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o600}))
	must(t, w.Close())
	return out.Bytes()
}

// history takes a full, two deltas of it, and another full with a delta.
func history(t *testing.T) (*bench, []string) {
	t.Helper()
	b := newBench(t)
	var names []string
	for i := range 5 {
		b.taker.Full = i == 3
		b.put(t, i, i+1)
		// Names are sorted by the second.
		b.store.clock = offset{clock.RealClock{}, time.Duration(i-5) * time.Hour}
		taken := b.take(t)
		if want := map[bool]string{true: "full", false: "delta"}[i == 0 || i == 3]; taken.Kind() != want {
			t.Fatalf("set %d is a %s: %s", i, taken.Kind(), taken.Why)
		}
		names = append(names, taken.Name)
	}
	b.store.clock = clock.RealClock{}
	return b, names
}

// offset is a clock that is late.
type offset struct {
	clock.Clock
	by time.Duration
}

func (o offset) Now() time.Time                  { return o.Clock.Now().Add(o.by) }
func (o offset) Since(t time.Time) time.Duration { return o.Now().Sub(t) }

func (b *bench) names(t *testing.T) []string {
	t.Helper()
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	var names []string
	for _, e := range sets {
		if e.Problem != "" {
			t.Errorf("set %s is listed, and cannot be restored: %s", e.Name, e.Problem)
		}
		names = append(names, e.Name)
	}
	return names
}

func prune(t *testing.T, s *Store, p *Pruning) Removed {
	t.Helper()
	removed, err := s.Prune(t.Context(), p, nil)
	must(t, err)
	return removed
}

// TestPrune keeps what rules keep, the base of that, and what was proven last.
func TestPrune(t *testing.T) {
	b, names := history(t)
	_, _, err := b.prover(t).Prove(t.Context(), names[1])
	must(t, err)
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	before := objects(t, b.dir)
	if again := objects(t, b.dir); !slices.Equal(before, again) {
		t.Error("planning has removed something")
	}
	prune(t, b.store, p)
	if got, want := b.names(t), []string{names[0], names[1], names[3], names[4]}; !slices.Equal(got, want) {
		t.Errorf("%v are kept, want %v", got, want)
	}
	for _, o := range objects(t, b.dir) {
		if strings.Contains(o, names[2]) {
			t.Errorf("%s is left", o)
		}
	}
	if _, _, err := b.prover(t).Prove(t.Context(), names[4]); err != nil {
		t.Error(err)
	}
	p, err = b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	prune(t, b.store, p)
	if got := b.names(t); !slices.Equal(got, names[3:]) {
		t.Errorf("once a later one is proven %v are kept, want %v", got, names[3:])
	}
}

// TestPruneStopsAnywhere ends a prune at each object it removes, as a kill would: what is listed
// then can be restored, and the next prune comes to the same end.
func TestPruneStopsAnywhere(t *testing.T) {
	b, names := history(t)
	policy := retention.Policy{Last: 1}
	whole := map[string][]byte{}
	for _, o := range objects(t, b.dir) {
		text, err := os.ReadFile(filepath.Join(b.dir, o))
		must(t, err)
		whole[o] = text
	}
	p, err := b.store.PlanPrune(t.Context(), policy, nil)
	must(t, err)
	killed := errors.New("killed")
	for steps := 0; ; steps++ {
		left := steps
		b.store.step = func(what, _ string) error {
			if what != "remove" {
				return nil
			}
			if left--; left < 0 {
				return killed
			}
			return nil
		}
		_, err := b.store.Prune(t.Context(), p, nil)
		b.store.step = nil
		if got := b.names(t); !slices.Equal(got[max(0, len(got)-2):], names[3:]) {
			t.Fatalf("after %d steps %v are listed", steps, got)
		}
		finished := err == nil
		if err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		// A day later everything that is left is old enough.
		b.store.clock = clocktesting.NewFakeClock(clock.RealClock{}.Now().Add(2 * orphanAge))
		next, err := b.store.PlanPrune(t.Context(), policy, nil)
		must(t, err)
		prune(t, b.store, next)
		b.store.clock = clock.RealClock{}
		for _, o := range objects(t, b.dir) {
			if name := nameOf(o); !slices.Contains(names[3:], name) {
				t.Errorf("after %d steps and another prune %s is left", steps, o)
			}
		}
		if finished {
			if steps < 9 {
				t.Errorf("a prune has %d steps only", steps)
			}
			return
		}
		for o, text := range whole {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(b.dir, o)), 0o700))
			must(t, os.WriteFile(filepath.Join(b.dir, o), text, 0o600))
		}
	}
}

// TestLeftovers are removed when they are old, and not before.
func TestLeftovers(t *testing.T) {
	b := newBench(t)
	b.take(t)
	stray := []string{"data/20260101T000000.000Z-abcdef/snapshot", "data/20260101T000000.000Z-abcdef/snapshot.1a2b.tmp", "manifests/20260101T000000.000Z-abcdef.json.1a2b.tmp", "proofs/20260101T000000.000Z-abcdef.json"}
	for _, s := range stray {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(b.dir, s)), 0o700))
		must(t, os.WriteFile(filepath.Join(b.dir, s), []byte("x"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(b.dir, "mine.txt"), []byte("x"), 0o600))
	b.names(t)
	for _, c := range []struct {
		later time.Duration
		want  []string
	}{{0, []string{}}, {2 * orphanAge, stray}} {
		b.store.clock = clocktesting.NewFakeClock(clock.RealClock{}.Now().Add(c.later))
		p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 9}, nil)
		must(t, err)
		if !slices.Equal(p.Orphans, slices.Sorted(slices.Values(c.want))) {
			t.Errorf("after %s these are left over: %v", c.later, p.Orphans)
		}
		prune(t, b.store, p)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "mine.txt")); err != nil {
		t.Errorf("what is nobody's business was removed: %v", err)
	}
}

// TestWhatCannotBeReadIsKept does not remove a set whose manifest is damaged, nor any full that it may need.
func TestWhatCannotBeReadIsKept(t *testing.T) {
	b, names := history(t)
	must(t, os.WriteFile(filepath.Join(b.dir, manifestKey(names[1])), []byte("damaged\n"), 0o600))
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	prune(t, b.store, p)
	for _, name := range []string{names[0], names[1]} {
		if _, err := os.Stat(filepath.Join(b.dir, dataKey(name, snapshotPart))); err != nil {
			t.Error(err)
		}
	}
}

// TestAFullThatIsNeededSinceThePlan stays.
func TestAFullThatIsNeededSinceThePlan(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	p.Sets[0].Reasons = []string{} // as if a newer set had been there
	b.store.clock = offset{clock.RealClock{}, time.Minute}
	delta := b.take(t)
	prune(t, b.store, p)
	if got := b.names(t); !slices.Equal(got, []string{full.Name, delta.Name}) {
		t.Errorf("%v are left", got)
	}
}

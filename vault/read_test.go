// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"

	"refit.dev/refit/internal/hint"
)

// rewrite stores a set with other content of its snapshot, as whoever may write to the store can: nothing but the
// SHA-256 of the snapshot tells.
func (b *bench) rewrite(t *testing.T, m *Manifest, content []byte) {
	t.Helper()
	m.Parts = nil
	must(t, b.taker.part(t.Context(), m, snapshotPart, func(to io.Writer, _ func() error) error {
		_, err := to.Write(content)
		return err
	}))
	text, err := m.encode(nil)
	must(t, err)
	must(t, b.store.putSmall(t.Context(), manifestKey(m.Name), text))
}

// content is what the snapshot's part of a set has: a database, or a delta.
func (b *bench) content(t *testing.T, m *Manifest) []byte {
	t.Helper()
	var content bytes.Buffer
	must(t, b.reader().part(t.Context(), m, snapshotPart, func(from io.Reader, _ func() error) error {
		_, err := io.Copy(&content, from)
		return err
	}))
	return content.Bytes()
}

// TestDeltasOfAnotherFormat are not called damaged, and their proofs are not taken back: who has written them reads them.
func TestDeltasOfAnotherFormat(t *testing.T) {
	b := newBench(t)
	b.take(t)
	b.put(t, 0, 3)
	m := b.take(t).Manifest
	_, _, err := b.prover(t).Prove(t.Context(), m.Name)
	must(t, err)
	b.rewrite(t, m, bytes.Replace(b.content(t, m), []byte("refit-pages/2\n"), []byte("refit-pages/1\n"), 1))
	_, _, err = b.prover(t).Prove(t.Context(), m.Name)
	if !errors.Is(err, ErrFormat) || errors.Is(err, ErrDamaged) || !strings.Contains(hint.Of(err), `refit "test" has written it`) {
		t.Errorf("a delta of another format: %v (%s)", err, hint.Of(err))
	}
	if _, err := os.Stat(filepath.Join(b.dir, proofKey(m.Name))); err != nil {
		t.Errorf("its proof: %v", err)
	}
}

// ends is a clock that calls end when it was asked as often as left says.
type ends struct {
	clock.Clock
	left atomic.Int64
	end  func()
}

func (e *ends) Now() time.Time {
	if e.left.Add(-1) == 0 {
		e.end()
	}
	return e.Clock.Now()
}

// TestFetchIsStopped ends a fetch anywhere: it ends there, and says of nothing that it is damaged. The
// store is a directory, which never looks at the context.
func TestFetchIsStopped(t *testing.T) {
	b := newBench(t)
	full := b.take(t).Manifest
	b.put(t, 0, 3)
	delta := b.take(t).Manifest
	if delta.Base == nil {
		t.Fatal("no delta")
	}
	// Each is written in so many parts at least.
	const part = 1 << 20
	for _, m := range []*Manifest{full, delta} {
		content, stopped := b.content(t, m), int64(0)
		for n := int64(1); ; n++ {
			ctx, cancel := context.WithCancel(t.Context())
			at := &ends{Clock: clock.RealClock{}, end: cancel}
			at.left.Store(n)
			b.store.clock = at
			file := filepath.Join(t.TempDir(), "out")
			err := b.reader().Snapshot(ctx, m, file)
			ended := ctx.Err() != nil
			cancel()
			if err == nil {
				if !ended {
					break
				}
				continue
			}
			stopped++
			if _, there := os.Stat(file); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDamaged) || !errors.Is(there, os.ErrNotExist) {
				t.Fatalf("a %s of %d bytes, ended at %d: %v; its file: %v", m.Kind(), len(content), n, err, there)
			}
		}
		if stopped < m.Snapshot.Bytes/part {
			t.Errorf("a %s with a snapshot of %d bytes can be stopped at %d places", m.Kind(), m.Snapshot.Bytes, stopped)
		}
	}
}

// TestWorkIsNoStall: who works with what a store has sent may take longer than the store.
func TestWorkIsNoStall(t *testing.T) {
	b := newBench(t)
	m := b.take(t).Manifest
	fake := testclock.NewFakeClock(time.Now())
	b.store.clock, b.store.patience = fake, time.Minute
	key := dataKey(m.Name, snapshotPart)
	work := func(from io.Reader, to io.Writer) error {
		if _, err := io.ReadFull(from, make([]byte, 1)); err != nil {
			return err
		}
		for range 10 {
			fake.Step(40 * time.Second)
			if _, err := to.Write([]byte("x")); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, from)
		return err
	}
	must(t, b.store.get(t.Context(), key, func(from io.Reader, alive func() error) error {
		return work(from, &busy{io.Discard, alive})
	}))
	ctx, alive, done := b.store.watched(t.Context())
	defer done()
	fake.Step(2 * time.Minute)
	<-ctx.Done()
	if err := alive(); err == nil || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("silence: %v", err)
	}
}

// TestHostileSizes are in a manifest, where their sum would be below 0: the room on the disk would do for them.
func TestHostileSizes(t *testing.T) {
	b := newBench(t)
	b.take(t)
	b.put(t, 0, 3)
	m := b.take(t).Manifest
	for _, c := range []struct{ snapshot, base int64 }{
		{math.MaxInt64, m.Base.Bytes}, {m.Snapshot.Bytes, math.MaxInt64}, {m.Snapshot.Bytes, -1}, {m.Snapshot.Bytes, 0}, {maxSnapshot + 1, 1}, {1, maxSnapshot + 1},
	} {
		hostile, base := *m, *m.Base
		hostile.Snapshot.Bytes, hostile.Base, base.Bytes = c.snapshot, &base, c.base
		text, err := hostile.encode(nil)
		must(t, err)
		if _, _, err := decodeManifest(m.Name, text); !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/host"
	"refit.dev/refit/vault/retention"
)

func newSigner(t *testing.T) *Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return &Signer{key}
}

// TestSignedDeltasHaveSignedFulls takes no signed delta of a full that who asks for the signature would refuse.
func TestSignedDeltasHaveSignedFulls(t *testing.T) {
	b := newBench(t)
	b.take(t)
	for _, key := range []*Signer{newSigner(t), newSigner(t)} {
		b.taker.Sign = key
		full := b.take(t)
		if full.Base != nil || !strings.Contains(full.Why, "not signed by this key") {
			t.Errorf("of a full that others have signed a %s was made: %q", full.Kind(), full.Why)
		}
		b.put(t, 0, 2)
		delta := b.take(t)
		if delta.Base == nil || delta.Base.Name != full.Name {
			t.Fatalf("a %s: %q", delta.Kind(), delta.Why)
		}
		r := b.reader()
		r.Trust = key.Verifier()
		must(t, r.Snapshot(t.Context(), delta.Manifest, filepath.Join(t.TempDir(), "out")))
	}
}

// TestPruneBelievesSignaturesAlone: sets that somebody else has put there take no place of others, whatever
// they say of themselves, and their proofs count for nothing.
func TestPruneBelievesSignaturesAlone(t *testing.T) {
	b := newBench(t)
	b.taker.Sign = newSigner(t)
	b.store.clock = offset{clock.RealClock{}, -3 * time.Hour}
	b.take(t)
	b.store.clock = offset{clock.RealClock{}, -2 * time.Hour}
	b.put(t, 0, 2)
	genuine := b.take(t)
	prover := b.prover(t)
	prover.Sign = b.taker.Sign
	_, _, err := prover.Prove(t.Context(), genuine.Name)
	must(t, err)
	b.store.clock = clock.RealClock{}
	b.taker.Sign, b.taker.Full = newSigner(t), true
	for range 3 {
		stranger := b.take(t)
		_, _, err := b.prover(t).Prove(t.Context(), stranger.Name)
		must(t, err)
	}
	before := b.names(t)
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, prover.Sign.Verifier())
	must(t, err)
	prune(t, b.store, p)
	if got := b.names(t); !slices.Equal(got, before) {
		t.Errorf("of %v are left %v", before, got)
	}
	for _, x := range p.Sets {
		if strings.Contains(strings.Join(x.Reasons, " "), "not trusted") != !slices.Contains(before[:2], x.Name) {
			t.Errorf("set %s is kept as %v", x.Name, x.Reasons)
		}
	}
	// Without a key everybody is believed.
	p, err = b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	prune(t, b.store, p)
	if got := b.names(t); slices.Contains(got, genuine.Name) {
		t.Errorf("%v are left", got)
	}
}

// TestSignedProofsStay where the new proof is not signed as the set is, and are taken back all the same when the set is damaged.
func TestSignedProofsStay(t *testing.T) {
	b := newBench(t)
	key := newSigner(t)
	b.taker.Sign = key
	set := b.take(t)
	at := time.Now().Truncate(time.Second)
	prove := func(by *Signer, hour int, stays bool) {
		t.Helper()
		b.store.clock = clocktesting.NewFakeClock(at.Add(time.Duration(hour) * time.Hour))
		p := b.prover(t)
		told := false
		p.Sign, p.Stays = by, func(*Proof) { told = true }
		proof, _, err := p.Prove(t.Context(), set.Name)
		must(t, err)
		if told != stays || !proof.Proven.Equal(at.Add(time.Duration(hour)*time.Hour)) {
			t.Errorf("hour %d: a proof of before stays: %v; want %v; the new one is of %s", hour, told, stays, proof.Proven)
		}
	}
	proven := func(trust *Verifier, hour int) {
		t.Helper()
		_, _, p, err := b.store.Status(t.Context(), set.Name, trust)
		must(t, err)
		if p == nil || !p.Proven.Equal(at.Add(time.Duration(hour)*time.Hour)) {
			t.Errorf("want the proof of hour %d, and it is %+v", hour, p)
		}
	}
	prove(nil, 1, false)
	proven(nil, 1)
	prove(newSigner(t), 2, false) // a stranger's is no better than none, and no worse
	prove(nil, 3, false)
	proven(nil, 3)
	prove(key, 4, false)
	proven(key.Verifier(), 4)
	prove(nil, 5, true)
	prove(newSigner(t), 6, true)
	proven(key.Verifier(), 4)
	proven(nil, 4)
	prove(key, 7, false)
	proven(key.Verifier(), 7)

	file := filepath.Join(b.dir, dataKey(set.Name, snapshotPart))
	text, err := os.ReadFile(file)
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(file, text, 0o600))
	if _, _, err := b.prover(t).Prove(t.Context(), set.Name); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged set: %v", err)
	}
	if _, _, p, err := b.store.Status(t.Context(), set.Name, nil); err != nil || p != nil {
		t.Errorf("a damaged set: %v, %+v", err, p)
	}
}

// TestDatesInTheFuture belong to nobody's latest set, to no base, and take no place of others.
func TestDatesInTheFuture(t *testing.T) {
	b := newBench(t)
	first := b.take(t)
	b.store.clock, b.taker.Full = offset{clock.RealClock{}, 48 * time.Hour}, true
	wrong := b.take(t)
	b.store.clock, b.taker.Full = clock.RealClock{}, false
	b.put(t, 0, 2)
	last := b.take(t)
	if last.Base != nil && last.Base.Name != first.Name {
		t.Errorf("a %s of %v", last.Kind(), last.Base)
	}
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	for _, e := range sets {
		if (e.Problem != "") != (e.Name == wrong.Name) || e.Problem != "" && !strings.Contains(e.Problem, "future") {
			t.Errorf("set %s: %q", e.Name, e.Problem)
		}
	}
	if _, _, err := b.store.Find(t.Context(), Latest, nil); !errors.Is(err, ErrAhead) {
		t.Errorf("the latest set: %v", err)
	}
	_, _, err = b.prover(t).Prove(t.Context(), wrong.Name) // it can be restored all the same
	must(t, err)
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	prune(t, b.store, p)
	if _, _, err := b.store.Find(t.Context(), last.Name, nil); err != nil {
		t.Errorf("a set of the future has taken the place of the last one: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(b.dir, manifestKey(last.Name))); err != nil {
		t.Error(err)
	} else if _, _, err := decodeManifest(last.Name, text); err != nil {
		t.Error(err)
	}
	m := *last.Manifest
	m.Created = m.Created.Add(time.Hour)
	text, err := m.encode(nil)
	must(t, err)
	if _, _, err := decodeManifest(m.Name, text); !errors.Is(err, ErrDamaged) {
		t.Errorf("a date that is not the name's: %v", err)
	}
}

// TestClustersAreTheSame by the UID of kube-system, or else by the keys of service accounts and the ID of etcd's cluster.
func TestClustersAreTheSame(t *testing.T) {
	for _, c := range []struct {
		a, b Cluster
		want bool
	}{
		{Cluster{"u", "1", ""}, Cluster{"u", "1", ""}, true},
		{Cluster{"u", "1", "k"}, Cluster{"u", "2", "l"}, true}, // after a restore
		{Cluster{"u", "1", "k"}, Cluster{"v", "1", "k"}, false},
		{Cluster{"", "1", ""}, Cluster{"", "1", ""}, true},
		{Cluster{"", "1", ""}, Cluster{"", "2", ""}, false},
		{Cluster{"u", "1", ""}, Cluster{"", "1", ""}, true}, // since namespaces are encrypted
		{Cluster{"", "1", ""}, Cluster{"u", "2", ""}, false},
		{Cluster{"", "1", "k"}, Cluster{"", "2", "k"}, true}, // the same after a restore
		{Cluster{"u", "1", "k"}, Cluster{"", "2", "k"}, true},
		{Cluster{"", "1", "k"}, Cluster{"", "2", "l"}, false},
		{Cluster{"", "1", "k"}, Cluster{"", "1", "l"}, true}, // the keys were renewed
		{Cluster{"", "1", "k"}, Cluster{"", "2", ""}, false},
	} {
		if got := c.a.same(c.b); got != c.want || c.b.same(c.a) != got {
			t.Errorf("%v and %v: %t, and %t", c.a, c.b, got, !got)
		}
	}
}

// TestLeftoversThatAreNone: a set that was published while somebody was asked stays.
func TestLeftoversThatAreNone(t *testing.T) {
	b := newBench(t)
	m := b.take(t).Manifest
	file := filepath.Join(b.dir, manifestKey(m.Name))
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.Remove(file))
	b.store.clock = clocktesting.NewFakeClock(clock.RealClock{}.Now().Add(2 * orphanAge))
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	if !slices.Contains(p.Orphans, dataKey(m.Name, snapshotPart)) {
		t.Fatalf("left over are %v", p.Orphans)
	}
	must(t, os.WriteFile(file, text, 0o600))
	if removed := prune(t, b.store, p); removed.Leftovers != 0 || removed.Bytes != 0 {
		t.Errorf("%d leftovers of %d bytes were removed", removed.Leftovers, removed.Bytes)
	}
	b.store.clock = clock.RealClock{}
	if got := b.names(t); !slices.Equal(got, []string{m.Name}) {
		t.Errorf("%v are left", got)
	}
}

// TestHugeObjects damage nothing but the set that they are of.
func TestHugeObjects(t *testing.T) {
	b := newBench(t)
	first, second := b.take(t), b.take(t)
	for key, size := range map[string]int{manifestKey(first.Name): maxSmall, proofKey(second.Name): maxProof} {
		file := filepath.Join(b.dir, key)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, bytes.Repeat([]byte("x"), size+1), 0o600))
	}
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	if !strings.Contains(sets[0].Problem, "more than") || sets[1].Proof != nil || !strings.Contains(sets[1].Problem, first.Name) {
		t.Errorf("they are listed as %+v", sets)
	}
	if again := b.take(t); again.Base != nil {
		t.Errorf("a %s of a set that nobody can read", again.Kind())
	}
}

// TestAnotherFull of the same name is no base.
func TestAnotherFull(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	delta := b.take(t)
	m := *full.Manifest
	m.Snapshot.SHA256 = strings.Repeat("0", 64)
	text, err := m.encode(nil)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.dir, manifestKey(m.Name)), text, 0o600))
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	if delta.Base == nil || sets[0].Problem != "" || !strings.Contains(sets[1].Problem, "another one than when") {
		t.Errorf("they are listed as %q, %q", sets[0].Problem, sets[1].Problem)
	}
}

// TestADeltaWithAnEarlierName - a clock was set back - needs its full no less.
func TestADeltaWithAnEarlierName(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	b.store.clock = offset{clock.RealClock{}, -30 * time.Minute}
	b.put(t, 0, 2)
	delta := b.take(t)
	if delta.Base == nil || delta.Name > full.Name {
		t.Fatalf("a %s called %s", delta.Kind(), delta.Name)
	}
	b.store.clock = clock.RealClock{}
	p := &Pruning{Sets: []Pruned{{Name: full.Name, Kind: "full"}}}
	if removed := prune(t, b.store, p); removed.Sets != 0 {
		t.Error("a full was removed that is needed")
	}
	b.names(t)
}

// TestADeltaThatAppears while its full is removed gets it back.
func TestADeltaThatAppears(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	b.put(t, 0, 2)
	delta := b.take(t)
	manifest := filepath.Join(b.dir, manifestKey(delta.Name))
	text, err := os.ReadFile(manifest)
	must(t, err)
	must(t, os.Remove(manifest))
	b.store.step = func(what, key string) error {
		if what == "remove" && key == manifestKey(full.Name) {
			return os.WriteFile(manifest, text, 0o600)
		}
		return nil
	}
	if removed := prune(t, b.store, &Pruning{Sets: []Pruned{{Name: full.Name, Kind: "full"}}}); removed.Sets != 0 {
		t.Error("a full was removed that is needed")
	}
	if got := b.names(t); !slices.Equal(got, []string{full.Name, delta.Name}) {
		t.Errorf("%v are left", got)
	}
}

// TestURLsKeepTheirSecrets: what cannot be read may have a password in it.
func TestURLsKeepTheirSecrets(t *testing.T) {
	for _, text := range []string{"s3://user:hush@bucket:port/x", "s3://user:hu%zzsh@bucket", "s3://user:hush@bucket/x", "://user:hush@bucket"} {
		if _, err := ParseStore(text); err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hu%zz") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestFindWasKilled: what was listed until then is not all.
func TestFindWasKilled(t *testing.T) {
	for code, fine := range map[int]bool{0: true, 1: true, 137: false, -1: false} {
		err := foundAll(host.Result{Code: code, Stderr: []byte("find: '/etc/x': No such file or directory\n")})
		if (err == nil) != fine {
			t.Errorf("exit code %d: %v", code, err)
		}
	}
}

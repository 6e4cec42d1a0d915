// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/vault/seal"
)

func TestMain(m *testing.M) {
	os.Exit(etcdtest.Main(func() int {
		if text := os.Getenv(errandEnv); text != "" {
			return runErrand(text)
		}
		return m.Run()
	}))
}

// pair are the keys of somebody, as files.
type pair struct {
	to seal.Recipients
	by seal.Identities
}

func newPair(t *testing.T) pair {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	must(t, err)
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte(id.String()+"\n"), 0o600))
	var p pair
	must(t, p.to.Add(id.Recipient().String()))
	must(t, p.by.AddFile(file))
	return p
}

// bench is a cluster's etcd, a store, and keys.
type bench struct {
	etcd  *etcdtest.Etcd
	store *Store
	dir   string // of the store
	keys  pair
	taker Taker
	noise int // of each object, in bytes
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{etcd: etcdtest.Start(t), dir: filepath.Join(t.TempDir(), "store"), keys: newPair(t), noise: 1500}
	b.store = open(t, "file://"+b.dir)
	b.put(t, 0, 400)
	w := etcdtest.Worker(t)
	b.taker = Taker{
		Writer: Writer{Store: b.store, To: b.keys.to}, Etcd: etcd.Saver{Access: b.etcd.Access(), Worker: w, Clock: clock.RealClock{}}, Worker: w,
		Refit: "test", Indexes: filepath.Join(t.TempDir(), "indexes"), FullEvery: 7 * 24 * time.Hour,
	}
	return b
}

func open(t *testing.T, url string) *Store {
	t.Helper()
	where, err := ParseStore(url)
	must(t, err)
	s, err := Open(t.Context(), where, clock.RealClock{}, 0, true)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// put writes objects whose content does not compress.
func (b *bench) put(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		noise := make([]byte, b.noise)
		_, _ = rand.Read(noise)
		_, err := b.etcd.Client.Put(t.Context(), fmt.Sprintf("/registry/example.com/things/default/t-%04d", i),
			fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Thing","data":%q}`, fmt.Sprintf("%x", noise)))
		must(t, err)
	}
}

func (b *bench) take(t *testing.T) *Taken {
	t.Helper()
	taken, err := b.taker.Take(t.Context())
	must(t, err)
	return taken
}

func (b *bench) reader() Reader { return Reader{Store: b.store, By: b.keys.by} }

func (b *bench) prover(t *testing.T) Prover {
	return Prover{Reader: b.reader(), Worker: etcdtest.Worker(t), Refit: "test"}
}

// content is what a snapshot has, as etcd's own library serves it after a restore: here it
// is enough to compare the file with what the member had.
func (b *bench) snapshot(t *testing.T, name string) []byte {
	t.Helper()
	m, _, err := b.store.Find(t.Context(), name, nil)
	must(t, err)
	file := filepath.Join(t.TempDir(), "snapshot.db")
	must(t, b.reader().Snapshot(t.Context(), m, file))
	info, err := os.Stat(file)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read %s: %s", file, info.Mode())
	}
	text, err := os.ReadFile(file)
	must(t, err)
	return text
}

// objects are the files below a directory, by their paths.
func objects(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

// TestFullAndDelta takes a full and deltas of it; each gives the same bytes as the snapshot had, proves, and is smaller
// the less has changed. Nothing in the store can be read without the key.
func TestFullAndDelta(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	if full.Base != nil || full.Why != "the first" {
		t.Errorf("the first set is a %s: %q", full.Kind(), full.Why)
	}
	b.put(t, 0, 10)
	delta := b.take(t)
	if delta.Base == nil || delta.Base.Name != full.Name || delta.Stored() >= full.Stored()/4 {
		t.Fatalf("10 of 400 objects have changed: a %s of %d bytes (%s); the full takes %d", delta.Kind(), delta.Stored(), delta.Why, full.Stored())
	}
	for _, taken := range []*Taken{full, delta} {
		text := b.snapshot(t, taken.Name)
		sum := sha256.Sum256(text)
		if int64(len(text)) != taken.Snapshot.Bytes || fmt.Sprintf("%x", sum) != taken.Snapshot.SHA256 {
			t.Errorf("%s: %d bytes with another SHA-256 come back", taken.Kind(), len(text))
		}
		// The file ends with the SHA-256 that etcd sent.
		body, end := text[:len(text)-sha256.Size], text[len(text)-sha256.Size:]
		if sent := sha256.Sum256(body); !bytes.Equal(sent[:], end) {
			t.Errorf("%s: the snapshot is not what etcd sent", taken.Kind())
		}
		proof, _, err := b.prover(t).Prove(t.Context(), taken.Name)
		if err != nil || proof.Decoded != 400 || proof.Keys != 400 || proof.Revision != taken.Snapshot.Revision {
			t.Errorf("%s: %v, %+v", taken.Kind(), err, proof)
		}
	}
	if latest, _, err := b.store.Find(t.Context(), Latest, nil); err != nil || latest.Name != delta.Name {
		t.Errorf("the latest set is %v, %v", latest, err)
	}
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	if len(sets) != 2 || sets[0].Name != full.Name || sets[0].Proof == nil || sets[1].Proof == nil || sets[0].Problem+sets[1].Problem != "" {
		t.Errorf("the store lists %+v", sets)
	}
	for _, o := range objects(t, b.dir) {
		text, err := os.ReadFile(filepath.Join(b.dir, o))
		must(t, err)
		if bytes.Contains(text, []byte("things/default")) {
			t.Errorf("%s can be read without a key", o)
		}
	}
	b.taker.FullEvery = 0
	if again := b.take(t); again.Base != nil || !strings.Contains(again.Why, "old") {
		t.Errorf("a full that is too old is the base of a %s: %q", again.Kind(), again.Why)
	}
}

// TestWhenDeltasCannotBe names the cases in which a full is taken.
func TestWhenDeltasCannotBe(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	index := b.taker.indexFile(full.Manifest)
	text, err := os.ReadFile(index)
	must(t, err)
	for _, c := range []struct {
		name, why string
		do        func()
	}{
		{"index changed", "cannot be used: they are damaged", func() { must(t, os.WriteFile(index, append([]byte("x"), text...), 0o600)) }},
		{"index of before", "cannot be used: it has another format: 1", func() {
			before := "refit-index/1\n\x00\x00\x00\x00\x00\x00\x00\x00"
			files, err := filepath.Glob(filepath.Join(b.taker.Indexes, "*"+indexSuffix))
			must(t, err)
			must(t, os.WriteFile(files[0], []byte(before+sumOf([]byte(before))), 0o600))
		}},
		{"index gone", "no page hashes", func() { must(t, os.RemoveAll(b.taker.Indexes)) }},
		{"asked for", "asked for", func() { b.taker.Full = true }},
		{"other recipients", "encrypted to others", func() {
			b.taker.Full = false
			b.taker.To = newPair(t).to
		}},
		{"all is new", "% of the database is not in the last full", func() {
			for range 3 { // etcd keeps what was there before, in pages that do not change
				b.put(t, 0, 400)
			}
		}},
	} {
		c.do()
		taken := b.take(t)
		if taken.Base != nil || !strings.Contains(taken.Why, c.why) {
			t.Errorf("%s: a %s, %q", c.name, taken.Kind(), taken.Why)
		}
	}
}

// TestEachBitCounts flips bits of every object of a full and of a delta, cuts them and
// empties them. Whatever is read afterwards is refused, or is what it was.
func TestEachBitCounts(t *testing.T) {
	b := newBench(t)
	full := b.take(t)
	b.put(t, 0, 3)
	delta := b.take(t)
	want := b.snapshot(t, delta.Name)
	file := filepath.Join(t.TempDir(), "out")
	read := func() error {
		defer os.Remove(file)
		m, _, err := b.store.Find(t.Context(), delta.Name, nil)
		if err == nil {
			err = b.reader().Snapshot(t.Context(), m, file)
		}
		if err != nil {
			if _, statErr := os.Stat(file); statErr == nil {
				t.Errorf("a file is left after %v", err)
			}
			return err
		}
		got, readErr := os.ReadFile(file)
		if readErr != nil || !bytes.Equal(got, want) {
			t.Errorf("something else comes back (%v)", readErr)
		}
		return nil
	}
	for _, o := range objects(t, b.dir) {
		path := filepath.Join(b.dir, o)
		text, err := os.ReadFile(path)
		must(t, err)
		damage := func(what string, damaged []byte) {
			must(t, os.WriteFile(path, damaged, 0o600))
			if err := read(); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("%s, %s: %v", o, what, err)
			}
		}
		for _, at := range positions(len(text)) {
			damaged := bytes.Clone(text)
			damaged[at] ^= 1 << (at % 5) // none that makes another case of a letter
			damage(fmt.Sprintf("bit of byte %d", at), damaged)
		}
		damage("cut at half", text[:len(text)/2])
		damage("cut at 512", text[:min(512, len(text)-1)])
		damage("one byte less", text[:len(text)-1])
		damage("empty", nil)
		damage("more at the end", append(bytes.Clone(text), 'x'))
		must(t, os.WriteFile(path, text, 0o600))
	}
	must(t, read())
	must(t, os.Remove(filepath.Join(b.dir, "data", full.Name, "snapshot")))
	sets, err := b.store.List(t.Context(), nil)
	must(t, err)
	if !strings.Contains(sets[0].Problem, "not there") || !strings.Contains(sets[1].Problem, full.Name) {
		t.Errorf("sets whose full has no snapshot are listed: %q, %q", sets[0].Problem, sets[1].Problem)
	}
}

// positions are some in a text of n bytes: the beginning, the end, and some between.
func positions(n int) []int {
	var all []int
	for at := 0; at < n; at += max(1, n/16) {
		all = append(all, at)
	}
	return append(all, n-2)
}

// TestWrongKeys reads with none, and with another one.
func TestWrongKeys(t *testing.T) {
	b := newBench(t)
	m := b.take(t).Manifest
	for name, by := range map[string]seal.Identities{"none": {}, "another": newPair(t).by} {
		err := Reader{Store: b.store, By: by}.Snapshot(t.Context(), m, filepath.Join(t.TempDir(), "out"))
		if !errors.Is(err, seal.ErrNoKey) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneClusterAStore refuses the sets of two.
func TestOneClusterAStore(t *testing.T) {
	b := newBench(t)
	be := func(uid string) {
		_, err := b.etcd.Client.Put(t.Context(), "/registry/namespaces/kube-system", fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":%q}}`, uid))
		must(t, err)
	}
	be("u-1")
	b.take(t)
	before := objects(t, b.dir)
	be("u-2")
	if _, err := b.taker.Take(t.Context()); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("a set of another cluster: %v", err)
	}
	b.taker.SameCluster = true // nobody's word is better than two UIDs
	if _, err := b.taker.Take(t.Context()); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("a set of another cluster, said to be of the same: %v", err)
	}
	if after := objects(t, b.dir); !slices.Equal(before, after) {
		t.Errorf("it left %v", after)
	}
}

// TestSavedAfterARestore, which gives etcd's cluster another ID, where nobody can read the UID of kube-system.
func TestSavedAfterARestore(t *testing.T) {
	b := newBench(t)
	restored := func() {
		t.Helper()
		b.etcd = etcdtest.Start(t)
		b.taker.Etcd.Access = b.etcd.Access()
		b.put(t, 0, 1)
		_, err := b.etcd.Client.Put(t.Context(), "/registry/namespaces/kube-system", "k8s:enc:secretbox:v1:key1:\x01\x02\x03")
		must(t, err)
	}
	m := machine(t)
	be := func(publicKey string) {
		must(t, os.WriteFile(m.dir+"/etc/kubernetes/pki/sa.pub", []byte(publicKey), 0o600))
	}
	refused := func(why string) {
		t.Helper()
		if _, err := b.taker.Take(t.Context()); !errors.Is(err, ErrOtherCluster) || !strings.Contains(hint.Of(err), "--same-cluster") {
			t.Errorf("%s: %v (%s)", why, err, hint.Of(err))
		}
	}
	restored()
	be("one")
	b.taker.Machine, b.taker.Name = m, "cp1"
	first := b.take(t)
	restored()
	if second := b.take(t); second.Cluster.UID != "" || second.Cluster.EtcdID == first.Cluster.EtcdID {
		t.Errorf("the clusters %+v and %+v do not show what they are to show", first.Cluster, second.Cluster)
	}
	restored()
	be("two")
	refused("a machine with other keys")
	b.taker.Machine = nil
	refused("no machine at all")
	b.taker.SameCluster = true
	b.take(t)
	b.taker.SameCluster = false
	b.take(t) // once is enough
}

// TestManifestsSayWhatEtcdutlSays holds what stands in a manifest against another reader.
func TestManifestIsOfTheSnapshot(t *testing.T) {
	b := newBench(t)
	m := b.take(t).Manifest
	file := filepath.Join(t.TempDir(), "snapshot.db")
	must(t, b.reader().Snapshot(t.Context(), m, file))
	status, err := etcdtest.Worker(t).Status(t.Context(), file)
	must(t, err)
	if m.Snapshot.Revision != 401 || status.Revision != 401 || m.Snapshot.Keys != 400 || m.Snapshot.HashKV != status.HashKV {
		t.Errorf("the manifest says %+v, the file %+v", m.Snapshot, status)
	}
	text, err := os.ReadFile(filepath.Join(b.dir, manifestKey(m.Name)))
	must(t, err)
	var first struct{ Name string }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&first); err != nil || first.Name != m.Name {
		t.Errorf("the manifest is no JSON: %v", err)
	}
}

// TestStoppedInTheMiddle ends a save before it has begun; TestSaveKilled ends it anywhere.
func TestStoppedInTheMiddle(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.taker.Take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a save that was stopped: %v", err)
	}
	if sets, err := b.store.List(t.Context(), nil); err != nil || len(sets) != 0 {
		t.Errorf("%v, %v", sets, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

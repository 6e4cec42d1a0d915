// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/vault/retention"
	"refit.dev/refit/vault/vaulttest"
)

// onS3 has the bench's sets go to a real S3 server.
func onS3(t *testing.T) (*bench, *vaulttest.S3) {
	t.Helper()
	s3 := vaulttest.StartS3(t)
	b := newBench(t)
	b.store = open(t, s3.URL("clusters/prod"))
	b.store.patience = 5 * time.Second
	b.taker.Store, b.dir = b.store, filepath.Join(s3.Dir, "clusters", "prod")
	return b, s3
}

// TestOnS3 takes sets to a real S3 server, several parts each.
func TestOnS3(t *testing.T) {
	b, s3 := onS3(t)
	b.goesAround(t, s3.URL("clusters"))
	nowhere := strings.Replace(s3.URL("x"), "//backups/", "//nowhere/", 1)
	if _, err := open(t, nowhere).List(t.Context(), nil); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `there is no bucket "nowhere": NoSuchBucket`) {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

// TestOnGCS takes sets to a server that speaks as Google Cloud Storage does.
func TestOnGCS(t *testing.T) {
	bucket := vaulttest.StartGCS(t)
	b := newBench(t)
	b.store = open(t, "gs://"+bucket+"/clusters/prod")
	b.taker.Store = b.store
	b.goesAround(t, "gs://"+bucket+"/clusters")
	if _, err := open(t, "gs://nowhere/x").List(t.Context(), nil); err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `there is no bucket "nowhere"`) {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

// goesAround takes sets, reads them again and prunes them. above is the store's URL with a shorter prefix.
func (b *bench) goesAround(t *testing.T, above string) {
	t.Helper()
	b.noise = 60_000
	b.put(t, 400, 650) // 15 MB, so that an upload has parts
	full := b.take(t)
	if full.Stored() < 2*5<<20 {
		t.Fatalf("the full takes %d bytes, which is no two parts of S3's", full.Stored())
	}
	b.put(t, 0, 5)
	delta := b.take(t)
	if delta.Base == nil {
		t.Fatalf("no delta: %s", delta.Why)
	}
	for _, m := range []*Manifest{full.Manifest, delta.Manifest} {
		if proof, _, err := b.prover(t).Prove(t.Context(), m.Name); err != nil || proof.Keys != 650 {
			t.Errorf("%s: %v", m.Kind(), err)
		}
	}
	// Under another prefix there is nothing.
	if sets, err := open(t, above).List(t.Context(), nil); err != nil || len(sets) != 0 {
		t.Errorf("under another prefix are %d sets, %v", len(sets), err)
	}
	p, err := b.store.PlanPrune(t.Context(), retention.Policy{Last: 1}, nil)
	must(t, err)
	prune(t, b.store, p)
	if sets, err := b.store.List(t.Context(), nil); err != nil || len(sets) != 2 {
		t.Errorf("the full that a delta needs was removed: %d sets, %v", len(sets), err)
	}
}

// TestFaultsOfS3 has the server refuse, stall and lie, at each kind of object. Whatever is listed
// afterwards can be restored.
func TestFaultsOfS3(t *testing.T) {
	b, s3 := onS3(t)
	b.taker.Full = true
	is := func(r *http.Request, method, dir string) bool {
		return r.Method == method && strings.Contains(r.URL.Path, "/"+dir+"/")
	}
	refuse := func(method, dir string) vaulttest.Fault {
		return func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if !is(r, method, dir) {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusForbidden)
			return true
		}
	}
	stall := func(method, dir string) vaulttest.Fault {
		return func(_ http.ResponseWriter, r *http.Request, _ string) bool {
			if is(r, method, dir) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
			return false
		}
	}
	lose := func(dir string) vaulttest.Fault { // says that it was written
		return func(w http.ResponseWriter, r *http.Request, _ string) bool {
			if !is(r, http.MethodPut, dir) {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			w.WriteHeader(http.StatusOK)
			return true
		}
	}
	for _, c := range []struct {
		name  string
		fault vaulttest.Fault
		says  string
	}{
		{"a refused part", refuse(http.MethodPut, "data"), "Forbidden"},
		{"a refused manifest", refuse(http.MethodPut, "manifests"), "Forbidden"},
		{"a stalled part", stall(http.MethodPut, "data"), "no sign of life"},
		{"a stalled manifest", stall(http.MethodPut, "manifests"), "no sign of life"},
		{"a lost part", lose("data"), "look again at"},
		{"a lost manifest", lose("manifests"), "look again at"},
		{"a stalled look", stall(http.MethodHead, "data"), "no sign of life"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s3.Break(c.fault)
			_, err := b.taker.Take(t.Context())
			s3.Break(nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want an error with %q: %v", c.says, err)
			}
			if sets, err := b.store.List(t.Context(), nil); err != nil || len(sets) != 0 {
				t.Errorf("%d sets are listed, %v", len(sets), err)
			}
		})
	}
	// The server cuts what it has, after it has said that all is well.
	m := b.take(t).Manifest
	path := filepath.Join(b.dir, "data", m.Name, "snapshot")
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, text[:len(text)-100], 0o600))
	sets, err := b.store.List(t.Context(), nil)
	if err != nil || len(sets) != 1 || !strings.Contains(sets[0].Problem, "instead of") {
		t.Errorf("a set that was cut is listed as %+v, %v", sets, err)
	}
	if _, _, err := b.prover(t).Prove(t.Context(), Latest); !errors.Is(err, ErrDamaged) {
		t.Errorf("a set that was cut: %v", err)
	}
	must(t, os.WriteFile(path, text, 0o600))
	s3.Break(stall(http.MethodGet, "data"))
	if err := b.reader().Snapshot(t.Context(), m, filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("a stalled read: %v", err)
	}
	s3.Break(nil)
	if _, _, err := b.prover(t).Prove(t.Context(), Latest); err != nil {
		t.Errorf("a set that was mended: %v", err)
	}
}

// TestServersThatAreNotThere says so, without waiting.
func TestServersThatAreNotThere(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	where, err := ParseStore("s3://bucket/x?endpoint=http://127.0.0.1:1&region=r&use_path_style=true")
	must(t, err)
	s, err := Open(t.Context(), where, clock.RealClock{}, 0, true)
	must(t, err)
	defer s.Close()
	if _, err := s.List(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens there: %v", err)
	}
	if _, _, err := s.Find(t.Context(), Latest, nil); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("nobody listens there, which is no answer about sets: %v", err)
	}
}

// TestHugeManifest is about a stored manifest that is longer than any.
func TestHugeManifest(t *testing.T) {
	b := newBench(t)
	m := b.take(t).Manifest
	must(t, os.WriteFile(filepath.Join(b.dir, manifestKey(m.Name)), bytes.Repeat([]byte("x"), maxSmall+1), 0o600))
	if _, _, err := b.store.Find(t.Context(), m.Name, nil); err == nil {
		t.Error("a manifest without end is taken")
	}
}

// TestStoresThatLie: one that cuts what it is given, that changes it, and that keeps what it says to have removed. Nothing is listed
// that cannot be restored.
func TestStoresThatLie(t *testing.T) {
	b, s3 := onS3(t)
	b.taker.Full = true
	cut := func(dir string) vaulttest.Fault {
		return func(w http.ResponseWriter, r *http.Request, key string) bool {
			if r.Method != http.MethodPut || !strings.Contains(key, "/"+dir+"/") {
				return false
			}
			text, _ := io.ReadAll(r.Body)
			file := filepath.Join(s3.Dir, filepath.FromSlash(key))
			must(t, os.MkdirAll(filepath.Dir(file), 0o700))
			must(t, os.WriteFile(file, text[:len(text)/2], 0o600))
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			return true
		}
	}
	for _, dir := range []string{"data", "manifests"} {
		s3.Break(cut(dir))
		_, err := b.taker.Take(t.Context())
		s3.Break(nil)
		if err == nil || !strings.Contains(err.Error(), "were written") {
			t.Errorf("objects of %s are cut: %v", dir, err)
		}
		if got := b.restorable(t, "cut"); len(got) > 0 {
			t.Errorf("objects of %s are cut, and %v are listed", dir, got)
		}
	}
	b.store.step = func(what, key string) error {
		if what == "written" && strings.HasPrefix(key, manifestDir) {
			file := filepath.Join(b.dir, key)
			text := mustRead(t, file)
			text[len(text)/2] ^= 1
			must(t, os.WriteFile(file, text, 0o600))
		}
		return nil
	}
	if _, err := b.taker.Take(t.Context()); err == nil {
		t.Error("a bit of the manifest is another, and all is well")
	}
	b.store.step = nil
	if got := b.restorable(t, "changed"); len(got) > 0 {
		t.Errorf("a bit of the manifest is another, and %v are listed", got)
	}
	kept := b.take(t)
	s3.Break(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.Method != http.MethodDelete {
			return false
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	_, err := b.store.Prune(t.Context(), &Pruning{Sets: []Pruned{{Name: kept.Name, Kind: "full"}}}, nil)
	s3.Break(nil)
	if err == nil || !strings.Contains(err.Error(), "is there still") {
		t.Errorf("what was removed is kept: %v", err)
	}
	// Of the data this cannot be seen; but it is removed after the manifest alone.
	s3.Break(func(w http.ResponseWriter, r *http.Request, key string) bool {
		if r.Method != http.MethodDelete || !strings.Contains(key, "/"+manifestDir+"/") {
			return false
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	_, err = b.store.Prune(t.Context(), &Pruning{Sets: []Pruned{{Name: kept.Name, Kind: "full"}}}, nil)
	s3.Break(nil)
	if got := b.restorable(t, "kept"); err == nil || len(got) != 1 {
		t.Errorf("the manifest that was removed is kept: %v, and %v are listed", err, got)
	}
}

// TestBusyStores are asked again.
func TestBusyStores(t *testing.T) {
	b, s3 := onS3(t)
	var lock sync.Mutex
	asked := map[string]int{}
	s3.Break(func(w http.ResponseWriter, r *http.Request, key string) bool {
		lock.Lock()
		defer lock.Unlock()
		asked[r.Method+key]++
		if asked[r.Method+key] > 1 {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	b.take(t)
	s3.Break(nil)
	if got := b.restorable(t, "busy"); len(got) != 1 {
		t.Errorf("%v are listed", got)
	}
}

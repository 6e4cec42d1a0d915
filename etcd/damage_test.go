// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
)

// write puts a damaged file somewhere.
func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "damaged.db")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDamage has every kind of file read that is no whole snapshot.
func TestDamage(t *testing.T) {
	e := etcdtest.Start(t)
	fill(t, e)
	_, whole := save(t, e)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{ // and what the error says
		dir: "no regular file but a directory", fifo: "no regular file", filepath.Join(dir, "none"): "no such file",
		write(t, nil):                               "it is empty",
		write(t, []byte("hello")):                   "no database has 5 bytes",
		write(t, make([]byte, 4096)):                "no whole snapshot",
		write(t, bytes.Repeat([]byte("text"), 1e4)): "no database has 40000 bytes",
		write(t, sealed(make([]byte, 8192))):        "no whole snapshot",
		write(t, good[:len(good)-1]):                "no database has",
		write(t, gzipped(t, good)):                  "compressed with gzip: unpack it first",
		write(t, append([]byte("SQLite format 3\x00"), make([]byte, 4080)...)): "a database of SQLite",
		write(t, append(bytes.Clone(good), 0)):                                 "no database has",
	}
	for file, want := range files {
		refused(t, file, want)
	}
	// Without its SHA-256 it is a database, which can be looked at; but it proves nothing.
	bare := write(t, good[:len(good)-sha256.Size])
	if status, err := etcdtest.Worker(t).Status(t.Context(), bare); err != nil || status.SHA256 != "" {
		t.Errorf("without SHA-256: %+v, %v", status, err)
	}
	if _, err := etcdtest.Worker(t).Verify(t.Context(), bare, t.TempDir()); !errors.Is(err, etcd.ErrDamaged) || !strings.Contains(err.Error(), "does not end with a SHA-256") {
		t.Errorf("without SHA-256: %v", err)
	}
}

// refused sees that a file is refused by all that reads one, and that nothing is left.
func refused(t *testing.T, file, want string) {
	t.Helper()
	scratch := t.TempDir()
	worker := etcdtest.Worker(t)
	_, status := worker.Status(t.Context(), file)
	_, verify := worker.Verify(t.Context(), file, scratch)
	restore := worker.Restore(t.Context(), file, etcd.Restore{
		DataDir: filepath.Join(scratch, "data"), Name: "m", PeerURLs: []string{"http://127.0.0.1:1"}, InitialCluster: "m=http://127.0.0.1:1", Token: "t",
	})
	for what, err := range map[string]error{"status": status, "verify": verify} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %s: %v, want %q", what, file, err, want)
		}
	}
	if restore == nil {
		t.Errorf("%s was restored", file)
	}
	empty(t, scratch)
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sealed ends with the SHA-256 of what is before.
func sealed(content []byte) []byte {
	sum := sha256.Sum256(content)
	return append(bytes.Clone(content), sum[:]...)
}

// TestCutAndFlipped cuts a file at multiples of 512 bytes and flips bits all over it: what
// ends with its SHA-256 is refused.
func TestCutAndFlipped(t *testing.T) {
	e := etcdtest.Start(t)
	put(t, e, "a", "b")
	_, whole := save(t, e)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	worker := etcdtest.Worker(t)
	random := rand.New(rand.NewPCG(1, 1))
	for range 25 {
		cut := good[:512*(1+random.IntN(len(good)/512-1))]
		if _, err := worker.Verify(t.Context(), write(t, cut), t.TempDir()); !errors.Is(err, etcd.ErrDamaged) {
			t.Errorf("cut at %d of %d: %v", len(cut), len(good), err)
		}
		flipped := bytes.Clone(good)
		bit := random.IntN(8 * len(good))
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := worker.Status(t.Context(), write(t, flipped)); !errors.Is(err, etcd.ErrDamaged) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

// TestEvilFiles gives databases whose pages are wrong although the SHA-256 is right: whoever
// reads them comes to an answer or an error, whatever becomes of the process.
func TestEvilFiles(t *testing.T) {
	e := etcdtest.Start(t)
	fill(t, e)
	_, whole := save(t, e)
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	good = good[:len(good)-sha256.Size]
	worker := etcdtest.Worker(t)
	random := rand.New(rand.NewPCG(2, 2))
	const page = 4096
	bad := 0
	for range 60 {
		evil := bytes.Clone(good)
		for range 1 + random.IntN(4) { // in the headers of pages and of their elements
			at := page*random.IntN(len(evil)/page) + random.IntN(64)
			evil[at] = byte(random.UintN(256))
		}
		_, err := worker.Status(t.Context(), write(t, sealed(evil)))
		if err != nil && !errors.Is(err, etcd.ErrDamaged) {
			t.Errorf("an error of another kind: %v", err)
		}
		if err != nil {
			bad++
			t.Log(err)
		}
	}
	if bad == 0 {
		t.Error("none of them was refused")
	}
}

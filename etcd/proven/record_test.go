// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package proven_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"refit.dev/refit/etcd/proven"
)

func TestNewestIsKept(t *testing.T) {
	s := proven.NewStore(filepath.Join(t.TempDir(), "not", "there"))
	const cluster = "5f7a0a1e-2f3e-4a57-9f9e-0d5b9a1c2d3e"
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if last, err := s.Last(cluster); last != nil || err != nil {
		t.Fatalf("of nothing: %+v, %v", last, err)
	}
	for _, tc := range []struct {
		saved time.Time
		want  string
	}{{noon, "first"}, {noon.Add(-time.Hour), "first"}, {noon.Add(time.Hour), "third"}} {
		name := map[time.Time]string{noon: "first", noon.Add(-time.Hour): "second", noon.Add(time.Hour): "third"}[tc.saved]
		if err := s.Note(proven.Record{Cluster: cluster, Place: name, Saved: tc.saved, Proven: noon}); err != nil {
			t.Fatal(err)
		}
		last, err := s.Last(cluster)
		if err != nil || last == nil || last.Place != tc.want {
			t.Errorf("after %s: %+v, %v", name, last, err)
		}
	}
	if last, err := s.Last("another"); last != nil || err != nil {
		t.Errorf("of another cluster: %+v, %v", last, err)
	}
}

// The name of a cluster comes from a file that anybody may have made.
func TestHostileClusters(t *testing.T) {
	dir := t.TempDir()
	s := proven.NewStore(filepath.Join(dir, "a", "b"))
	for _, cluster := range []string{"", "..", "../../evil", "a/b", "-", string(make([]byte, 9)), "x\n"} {
		if err := s.Note(proven.Record{Cluster: cluster, Place: "x", Saved: time.Unix(1, 0)}); err != nil {
			t.Errorf("%q: %v", cluster, err)
		}
		if last, err := s.Last(cluster); last != nil || err != nil {
			t.Errorf("%q: %+v, %v", cluster, last, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What is damaged is told, and written anew by the next proof.
func TestDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	s := proven.NewStore(dir)
	for _, text := range []string{"", "{", `{"cluster":"other","saved":"2026-11-23T12:00:00Z"}`, `{"cluster":"c"}`} {
		if err := os.WriteFile(filepath.Join(dir, "c.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if last, err := s.Last("c"); err == nil {
			t.Errorf("%q: %+v", text, last)
		}
		if err := s.Note(proven.Record{Cluster: "c", Place: "p", Saved: time.Unix(1, 0).UTC()}); err != nil {
			t.Fatal(err)
		}
		if last, err := s.Last("c"); err != nil || last.Place != "p" {
			t.Errorf("after %q: %+v, %v", text, last, err)
		}
	}
}

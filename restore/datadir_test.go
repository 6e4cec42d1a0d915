// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"refit.dev/refit/host"
)

var errKilled = errors.New("killed")

// mortal is a machine on which everything fails from a certain command on.
type mortal struct {
	host.Machine
	left  int
	after func() // called after each command
}

func (m *mortal) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	if m.left--; m.left < 0 {
		return host.Result{}, errKilled
	}
	result, err := m.Machine.Exec(ctx, argv, opts)
	if m.after != nil {
		m.after()
	}
	return result, err
}

const unlimited = 1 << 20

func fill(t *testing.T, dir, content string) {
	t.Helper()
	for _, name := range []string{"member/snap/db", "member/wal/0.wal"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// contents are the databases in a directory, by the directories that they are in.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*", "snap", "db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wal, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(file)), "wal", "0.wal"))
		if err != nil || !bytes.Equal(wal, text) {
			t.Errorf("%s is not whole: %q, %v", file, wal, err)
		}
		found[filepath.Base(filepath.Dir(filepath.Dir(file)))] = string(text)
	}
	return found
}

// The exchange is interrupted before every one of its commands: the old data is there, whole, at
// every instant, and who does it again finishes it.
func TestExchangeInterrupted(t *testing.T) {
	for n := 0; ; n++ {
		now, source := t.TempDir(), t.TempDir()
		fill(t, now, "old")
		fill(t, source, "new")
		m := &mortal{Machine: host.Here(nil), left: n}
		m.after = func() {
			found := contents(t, now)
			if found["member"] != "old" && found["member.before-r1"] != "old" {
				t.Errorf("after %d commands the old data is gone: %v", n, found)
			}
		}
		d := dataDir{files: files{m}, run: "r1", now: now, target: now}
		work := func() error {
			if done, err := d.laidAlready(t.Context()); err != nil {
				return err
			} else if !done {
				if err := d.lay(t.Context(), &archive{source}); err != nil {
					return err
				}
			}
			return d.exchange(t.Context())
		}
		first := work()
		if first != nil && !errors.Is(first, errKilled) {
			t.Fatalf("interrupted after %d commands: %v", n, first)
		}
		m.left = unlimited
		if err := work(); err != nil {
			t.Fatalf("done again after %d commands: %v", n, err)
		}
		want := map[string]string{"member": "new", "member.before-r1": "old"}
		if got := contents(t, now); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after %d commands, and again: %v", n, got)
		}
		if first == nil {
			t.Logf("%d commands", n)
			return
		}
	}
}

// Whenever it is given up, everything is as it was.
func TestExchangeGivenBack(t *testing.T) {
	for n := 0; ; n++ {
		now, source := t.TempDir(), t.TempDir()
		fill(t, now, "old")
		fill(t, source, "new")
		m := &mortal{Machine: host.Here(nil), left: n}
		d := dataDir{files: files{m}, run: "r1", now: now, target: now}
		err := d.lay(t.Context(), &archive{source})
		if err == nil {
			err = d.exchange(t.Context())
		}
		m.left = unlimited
		if err := d.giveBack(t.Context()); err != nil {
			t.Fatalf("after %d commands: %v", n, err)
		}
		entries, readErr := os.ReadDir(now)
		if readErr != nil || len(entries) != 1 || contents(t, now)["member"] != "old" {
			t.Errorf("after %d commands: %v, %v", n, entries, readErr)
		}
		if err == nil {
			return
		}
	}
}

func TestExchangeIntoAnotherDirectory(t *testing.T) {
	parent, source := t.TempDir(), t.TempDir()
	now, target := filepath.Join(parent, "etcd"), filepath.Join(parent, "etcd-new")
	fill(t, now, "old")
	fill(t, source, "new")
	d := dataDir{files: files{host.Here(nil)}, run: "r1", now: now, target: target}
	for range 2 { // the second time there is nothing left to do
		if done, err := d.laidAlready(t.Context()); err != nil {
			t.Fatal(err)
		} else if !done {
			if err := d.lay(t.Context(), &archive{source}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.exchange(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if contents(t, now)["member"] != "old" || contents(t, target)["member"] != "new" {
		t.Errorf("%v, %v", contents(t, now), contents(t, target))
	}
}

// What was in use may be lost before: then there is nothing to put aside.
func TestExchangeOfLostData(t *testing.T) {
	now, source := t.TempDir(), t.TempDir()
	fill(t, source, "new")
	d := dataDir{files: files{host.Here(nil)}, run: "r1", now: now, target: now}
	if err := d.lay(t.Context(), &archive{source}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.exchange(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := contents(t, now); got["member"] != "new" || len(got) != 1 {
		t.Error(got)
	}
}

// liar is a machine that reads back something else than it was sent.
type liar struct{ host.Machine }

func (l liar) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	result, err := l.Machine.Exec(ctx, argv, opts)
	if argv[0] == "sha256sum" {
		result.Stdout = slices.Concat([]byte("0"), result.Stdout[1:])
	}
	return result, err
}

func TestLayComparesWhatWasSent(t *testing.T) {
	now, source := t.TempDir(), t.TempDir()
	fill(t, now, "old")
	fill(t, source, "new")
	d := dataDir{files: files{liar{host.Here(nil)}}, run: "r1", now: now, target: now}
	if err := d.lay(t.Context(), &archive{source}); err == nil {
		t.Error("it was believed")
	}
	if there, err := d.laidAlready(t.Context()); there || err != nil {
		t.Errorf("it counts as whole: %v", err)
	}
}

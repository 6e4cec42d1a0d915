// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// backupTrial is an upgrade of a, the control plane, and b, with a backup before; fail says
// what comes of taking it.
func backupTrial(t *testing.T, fail func() error) (*trial, *fakeFleet, func(*fakeFleet) upgrading) {
	t.Helper()
	c := newFakeCluster(t, "a", "b")
	c.nodes["a"].Labels = map[string]string{cluster.ControlPlaneLabel: ""}
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Backup = &Backup{File: filepath.Join(t.TempDir(), "etcd.db")}
	tr, f := upgradeTrial(t, c, spec)
	u := func(f *fakeFleet) upgrading {
		u := tr.upgrading(f)
		u.backup = func(_ context.Context, file string, nodes []*corev1.Node) (taken, error) {
			c.change(func() {
				for _, n := range nodes {
					c.did("backup %s", n.Name)
				}
			})
			if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, []byte("etcd"), 0o600)); err != nil {
				t.Error(err)
			}
			return taken{revision: 7, bytes: 3 << 20, keys: 5, by: "node a"}, fail()
		}
		return u
	}
	tr.work = u(f)
	return tr, f, u
}

// times counts the backups in what was done, and fails if anything came before one.
func times(t *testing.T, log []string) int {
	t.Helper()
	n := 0
	for i, l := range log {
		if l != "backup a" {
			continue
		}
		n++
		if slices.ContainsFunc(log[:i], func(l string) bool { return !strings.HasPrefix(l, "backup") }) {
			t.Errorf("something was done before the backup: %v", log)
		}
	}
	return n
}

func TestBackupBeforeUpgrade(t *testing.T) {
	tr, f, _ := backupTrial(t, func() error { return nil })
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
	if n := times(t, tr.cluster.log()); n != 1 {
		t.Errorf("%d backups", n)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !slices.ContainsFunc(tr.events, func(e event.Event) bool {
		return e.Type == event.BackedUp && contains(e.Message, "/etcd.db by way of node a: 3 MiB, revision 7, 5 keys")
	}) {
		t.Error("it was not told")
	}
}

// Without a proven backup nothing is touched, and who resumes takes one.
func TestNoBackupNoUpgrade(t *testing.T) {
	broken := hint.Wrap(errors.New("no room"), "make some")
	tr, f, u := backupTrial(t, func() error { return broken })
	tr.cluster.busy = 1 // as long as nobody asks for a soft taint
	o := tr.run(deadline(t))
	if o.Result != event.ResultBlocked || !contains(o.Reason, "no proven backup: no room") ||
		!contains(o.Hint, "make some; then refit runs resume") || !contains(o.Hint, "--no-backup") {
		t.Errorf("%+v", o)
	}
	for _, l := range tr.cluster.log() {
		if !strings.HasPrefix(l, "backup") {
			t.Errorf("%s was done", l)
		}
	}
	if tr.cluster.busy != 1 {
		t.Error("a node was to be tainted")
	}
	broken = nil
	e := tr.next(t, UnknownStop)
	e.work = u(f)
	if o := e.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("resumed: %+v", o)
	}
	f.atVersion(t, "a", "b")
	if n := times(t, tr.cluster.log()); n != 2 {
		t.Errorf("%d backups", n)
	}
}

// A process that is killed at any record about the backup is followed by one that has it.
func TestBackupThroughKills(t *testing.T) {
	for n, want := range []int{1, 2, 1, 1} { // records; a backup whose end is not on disk is taken again
		tr, f, u := backupTrial(t, func() error { return nil })
		tr.log.fail = killAt(n)
		if o := tr.run(deadline(t)); o.Result == event.ResultDone {
			t.Fatalf("after %d records: %+v", n, o)
		}
		tr.log.fail = nil
		e := tr.next(t, UnknownStop)
		e.work = u(f)
		if o := e.run(deadline(t)); o.Result != event.ResultDone {
			t.Fatalf("resumed after %d records: %+v", n, o)
		}
		f.atVersion(t, "a", "b")
		if n := times(t, tr.cluster.log()); n != want {
			t.Errorf("%d backups, want %d", n, want)
		}
	}
}

// A backup that is gone, or old, before anything was touched is taken again; one is not
// taken any more when something was.
func TestBackupGone(t *testing.T) {
	paused := func() func(Record) error { return killAt(2) } // right after the backup
	touched := func() func(Record) error {
		begun := false
		return func(r Record) error {
			if begun {
				return errors.New("killed")
			}
			begun = r.Kind == KindStep
			return nil
		}
	}
	for name, c := range map[string]struct {
		kill  func() func(Record) error
		spoil func(file string) error
		want  int
	}{
		"there":                      {paused, func(string) error { return nil }, 1},
		"gone":                       {paused, os.Remove, 2},
		"a directory in its place":   {paused, func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, 2},
		"old":                        {paused, func(file string) error { return os.Chtimes(file, time.Time{}, time.Now().Add(-backupAge-time.Hour)) }, 2},
		"gone, and a node was begun": {touched, os.Remove, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tr, f, u := backupTrial(t, func() error { return nil })
			tr.log.fail = c.kill()
			if o := tr.run(deadline(t)); o.Result == event.ResultDone {
				t.Fatalf("%+v", o)
			}
			tr.log.fail = nil
			e := tr.next(t, UnknownStop)
			e.work = u(f)
			if err := c.spoil(e.spec.Upgrade.Backup.File); err != nil {
				t.Fatal(err)
			}
			if why := e.backup(deadline(t)); why != "" {
				t.Error(why)
			}
			n := 0
			for _, l := range tr.cluster.log() {
				if l == "backup a" {
					n++
				}
			}
			if n != c.want {
				t.Errorf("%d backups, want %d", n, c.want)
			}
		})
	}
}

// An old backup that cannot be followed by another stays, and whoever reads why the run stopped is told of it.
func TestOldBackupStays(t *testing.T) {
	tr, f, _ := backupTrial(t, func() error { return nil })
	tr.log.fail = killAt(2) // right after the backup
	if o := tr.run(deadline(t)); o.Result == event.ResultDone {
		t.Fatalf("%+v", o)
	}
	tr.log.fail = nil
	e := tr.next(t, UnknownStop)
	u := tr.upgrading(f)
	u.backup = func(context.Context, string, []*corev1.Node) (taken, error) {
		return taken{}, errors.New("no machine can be reached")
	}
	e.work = u
	file := e.spec.Upgrade.Backup.File
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-backupAge-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if why := e.backup(deadline(t)); !contains(why, "no proven backup: no machine can be reached") || !contains(why, "the older one stays: "+file) {
		t.Errorf("it stops for %q", why)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "etcd" {
		t.Errorf("the older one: %q, %v", text, err)
	}
}

// TestAbortRemovesUnproven: a snapshot that nobody has come to prove, with every Secret in it, goes with the run that took it; a proven
// one, and what is another run's, stays.
func TestAbortRemovesUnproven(t *testing.T) {
	dir := t.TempDir()
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Backup = &Backup{File: filepath.Join(dir, "etcd-"+spec.Run+".db")}
	name := filepath.Base(spec.Upgrade.Backup.File)
	o := &Operator{
		Client: fake.NewClientset(), Server: spec.Cluster.Server, Sink: event.Discard, Clock: clock.RealClock{},
		Store: NewStore(t.TempDir(), clock.RealClock{}),
	}
	spec.Cluster.UID = "" // nobody may read kube-system there
	held, err := o.Store.Begin(t.Context(), spec)
	if err == nil {
		err = held.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{name, name + ".new", "." + name + ".new.refit-1", "etcd-another.db.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("all Secrets"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Abort(t.Context(), spec.Run); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{name, "etcd-another.db.new"}; err != nil || !slices.Equal(left, slices.Sorted(slices.Values(want))) {
		t.Errorf("there is %v, %v; want %v", left, err, want)
	}
}

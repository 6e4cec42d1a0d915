// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/provider"
)

// brisk is a clock on which a short wait is over as soon as it begins: nothing else makes time pass, so
// that a long limit ends only after as many short waits as fit into it.
type brisk struct{ *clocktesting.FakeClock }

func (b brisk) NewTimer(d time.Duration) clock.Timer {
	t := b.FakeClock.NewTimer(d)
	if d <= lookAgain {
		b.Step(d)
	}
	return t
}

// ordered is what made does for node b, on a brisk clock.
func ordered(t *testing.T, tr *trial, with upgrading) (provider.Machine, error) {
	t.Helper()
	clk := brisk{clocktesting.NewFakeClock(testTime)}
	tr.clock, tr.lookout = clk, newLookout(clk)
	w := &worker{engine: tr.engine, target: *tr.spec.target("b"), status: tr.status.Nodes["b"], stage: &tr.spec.Upgrade.Stages[1]}
	return replacing{worker: w, with: with}.made(deadline(t), tr.spec.keyOf("b"))
}

// An order that is repeated hands the same invitation over: the first one may be in a machine's hands. Before
// the first one it is made sure that none of an earlier process is under way.
func TestOrderAgain(t *testing.T) {
	tr, cloud, with := replaceTrial(t, provider.JoinKubeadm, "a", "b")
	key := tr.spec.keyOf("b")
	failures := 3
	cloud.before = func() error {
		if failures--; failures >= 0 {
			return &provider.TemporaryError{Err: errors.New("busy")}
		}
		return nil
	}
	cloud.unseen = 9
	m, err := ordered(t, tr, with())
	if err != nil || m.Key != key {
		t.Fatalf("%v, %v", m, err)
	}
	log := cloud.c.log()
	if log[0] != "await "+key {
		t.Errorf("%q", log)
	}
	for _, l := range log[1:] {
		if l != "create "+key+" with token-1" {
			t.Errorf("%q", log)
		}
	}
	if len(log) < 5 || !slices.Equal(cloud.tokens[key], []string{"token-1"}) {
		t.Errorf("%q, invitations %v", log, cloud.tokens[key])
	}
	// Another process does not take the first invitation back: who has it may still come.
	cloud.machines = slices.DeleteFunc(cloud.machines, func(m provider.Machine) bool { return m.Key == key })
	if _, err := ordered(t, tr, with()); err != nil || !slices.Equal(cloud.tokens[key], []string{"token-1", "token-2"}) {
		t.Errorf("%v, invitations %v", err, cloud.tokens[key])
	}
}

// A list without the machine that is in service is not of the whole: it does not tell that the old machine is gone.
func TestListOfElsewhere(t *testing.T) {
	tr, cloud, with := replaceTrial(t, provider.JoinKubeadm, "a", "b")
	cloud.elsewhere = true
	o := tr.run(deadline(t))
	if n := o.Status.Nodes["b"]; o.Result != event.ResultFailed || !contains(n.Reason, "it does not list machine") || slices.Contains(cloud.c.log(), "delete vm-b") {
		t.Fatalf("%+v, node %+v\n%q", o, n, cloud.c.log())
	}
	cloud.elsewhere = false
	e := tr.next(t, UnknownStop)
	e.work = with()
	if o := e.run(deadline(t)); o.Result != event.ResultDone || !slices.Contains(cloud.c.log(), "delete vm-b") {
		t.Fatalf("%+v\n%q", o, cloud.c.log())
	}
}

// A replace that takes a backup first takes it once, and before anything else, wherever it is killed.
func TestBackupBeforeReplace(t *testing.T) {
	for n := 0; ; n++ {
		tr, cloud, with := replaceTrial(t, provider.JoinKubeadm, "a", "b", "c")
		tr.cluster.nodes["a"].Labels = map[string]string{cluster.ControlPlaneLabel: ""}
		file := filepath.Join(t.TempDir(), "etcd.db")
		tr.spec.Upgrade.Backup = &Backup{File: file}
		work := func() upgrading {
			u := with()
			u.backup = saving(tr, file)
			return u
		}
		tr.work = work()
		killed := false
		if n > 0 {
			kill := killAt(n)
			tr.log.fail = func(r Record) error {
				err := kill(r)
				killed = killed || err != nil
				return err
			}
		}
		o := tr.run(deadline(t))
		if killed {
			tr.log.fail = nil
			e := tr.next(t, UnknownStop)
			e.work = work()
			o = e.run(deadline(t))
		}
		if o.Result != event.ResultDone {
			t.Fatalf("after %d records: %+v\n%q", n, o, cloud.c.log())
		}
		settledUp(t, n, cloud)
		if n > 0 && !killed {
			return
		}
	}
}

// saving takes a backup as far as a file goes.
func saving(tr *trial, file string) func(context.Context, string, []*corev1.Node) (taken, error) {
	return func(_ context.Context, to string, nodes []*corev1.Node) (taken, error) {
		if to != file || len(nodes) != 1 || nodes[0].Name != "a" {
			return taken{}, fmt.Errorf("%s by %d nodes", to, len(nodes))
		}
		tr.cluster.change(func() { tr.cluster.did("backup") })
		return taken{revision: 7, by: "node a"}, os.WriteFile(file, []byte("etcd"), 0o600)
	}
}

// settledUp says whether what was to be done was, in its order, and nothing is left over.
func settledUp(t *testing.T, n int, cloud *fakeCloud) {
	t.Helper()
	log := cloud.c.log()
	backups, made := 0, map[string]int{}
	for i, l := range log {
		what, of, _ := strings.Cut(l, " ")
		switch what {
		case "backup":
			if backups++; i >= backups { // only backups before it
				t.Errorf("after %d records: %d things before a backup: %q", n, i, log)
			}
		case "delete", "remove", "drain":
			made[what+" "+of]++
		}
	}
	want := 1
	if n == 1 { // it was done, and that was not written down
		want = 2
	}
	if backups != want {
		t.Errorf("after %d records: %d backups, want %d", n, backups, want)
	}
	for _, what := range []string{"delete vm-b", "delete vm-c", "remove b", "remove c"} {
		if made[what] != 1 {
			t.Errorf("after %d records: %s: %d times", n, what, made[what])
		}
	}
	var ids []string
	for _, m := range cloud.machines {
		ids = append(ids, m.Node)
	}
	slices.Sort(ids)
	nodes := []string{}
	for name := range cloud.c.nodes {
		nodes = append(nodes, name)
	}
	slices.Sort(nodes)
	if len(nodes) != 3 || !slices.Equal(ids, nodes) {
		t.Errorf("after %d records: machines of %v, nodes %v", n, ids, nodes)
	}
	for key, tokens := range cloud.tokens {
		t.Errorf("after %d records: %s may still be joined with by %s", n, tokens, key)
	}
}

// A node that goes by itself while its machine is made leaves the turn to the others, says what is
// left over, and that may not join any more.
func TestNodeGoesMeanwhile(t *testing.T) {
	tr, cloud, _ := replaceTrial(t, provider.JoinKubeadm, "a", "b", "c")
	key := tr.spec.keyOf("b")
	cloud.before = func() error {
		tr.cluster.change(func() { delete(tr.cluster.nodes, "b") })
		cloud.before = nil
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone || o.Status.Nodes["b"].Standing != Skipped || o.Status.Nodes["c"].Standing != Maintained {
		t.Errorf("%+v", o)
	}
	if tokens, left := cloud.tokens[key]; left {
		t.Errorf("%v is good yet", tokens)
	}
	if !slices.ContainsFunc(tr.events, func(e event.Event) bool {
		return e.Type == event.Warning && e.Node == "b" && strings.Contains(e.Message, "machine vm-b") && strings.Contains(e.Message, key)
	}) {
		t.Error("what is left over was not told")
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/event"
	"refit.dev/refit/provider"
)

// fakePlane is a control plane that somebody else runs. It outlives refit.
type fakePlane struct {
	c *fakeCluster

	mu sync.Mutex
	// says is what the API server says of itself.
	says string
	// raised are the versions that were asked for, each time; awaited how often a command was waited for.
	raised  []string
	awaited int
	// onRaise, if set, replaces what a request brings about.
	onRaise func(to string) error
	// onAwait is called while a command is waited for.
	onAwait func()
	// flaps are answers that come before what is said.
	flaps []string
}

func (p *fakePlane) Raise(_ context.Context, r provider.Raise) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raised = append(p.raised, r.From+" to "+r.To)
	p.c.change(func() { p.c.did("raise %s", r.To) })
	if p.onRaise != nil {
		return p.onRaise(r.To)
	}
	p.says = r.To
	return nil
}

func (p *fakePlane) AwaitRaise(_ context.Context, busy func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onAwait != nil {
		p.awaited++
		busy()
		p.onAwait()
		p.onAwait = nil
	}
	return nil
}

func (p *fakePlane) version(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flaps) > 0 {
		says := p.flaps[0]
		p.flaps = p.flaps[1:]
		if says == "" {
			return "", errors.New("away")
		}
		return says, nil
	}
	return p.says, nil
}

// managedTrial is an upgrade by two hops of a cluster whose control plane is somebody else's.
func managedTrial(t *testing.T) (*trial, *fakePlane, *fakeCloud, func() upgrading) {
	t.Helper()
	tr, cloud, with := replaceTrial(t, provider.JoinOwn, "a", "b", "c")
	u := tr.spec.Upgrade
	u.To = "v1.37"
	u.Managed = &Managed{Settle: metav1.Duration{Duration: time.Millisecond}}
	u.Replace.Provider.Upgrade = &provider.Command{Argv: []string{"none"}, Seconds: 3600}
	u.Stages = []Stage{{Role: ManagedControlPlane, Version: "v1.36"}, {Role: ManagedControlPlane, Version: "v1.37"}, {Role: Workers, Version: "v1.37", Nodes: []string{"a", "b", "c"}}}
	u.Replace.Machines["a"] = provider.Machine{ID: "vm-a", Node: "a"}
	cloud.version = "v1.37.1-gke.7"
	p := &fakePlane{c: tr.cluster, says: "v1.35.4-gke.1200"}
	work := func() upgrading {
		w := with()
		w.plane, w.version = p, p.version
		return w
	}
	tr.work = work()
	return tr, p, cloud, work
}

// The control plane goes first, one minor at a time, and then the nodes give way.
func TestManaged(t *testing.T) {
	tr, p, cloud, _ := managedTrial(t)
	o := tr.run(deadline(t))
	if o.Result != event.ResultDone || !slices.Equal(p.raised, []string{"v1.35.4-gke.1200 to v1.36", "v1.36 to v1.37"}) {
		t.Fatalf("%+v, %q", o, p.raised)
	}
	log := cloud.c.log()
	if !strings.HasPrefix(strings.Join(log, ","), "raise v1.36,raise v1.37,") || len(cloud.machines) != 3 {
		t.Errorf("%q", log)
	}
}

// Wherever it is killed, each version is asked for once if its command has ended, and the nodes once.
func TestManagedKilled(t *testing.T) {
	for n := 1; ; n++ {
		tr, p, cloud, work := managedTrial(t)
		killed := false
		kill := killAt(n)
		tr.log.fail = func(r Record) error {
			err := kill(r)
			killed = killed || err != nil
			return err
		}
		o := tr.run(deadline(t))
		if killed {
			tr.log.fail = nil
			e := tr.next(t, UnknownStop)
			e.work = work()
			o = e.run(deadline(t))
		}
		if o.Result != event.ResultDone {
			t.Fatalf("after %d records: %+v, %q", n, o, cloud.c.log())
		}
		if !slices.Equal(p.raised, []string{"v1.35.4-gke.1200 to v1.36", "v1.36 to v1.37"}) || len(cloud.machines) != 3 || len(cloud.c.nodes) != 3 {
			t.Errorf("after %d records: %q, machines %v", n, p.raised, cloud.machines)
		}
		if !killed {
			return
		}
	}
}

// A command that runs on without its refit is waited for; what has become of it is asked of the API server.
func TestManagedCommandGoesOn(t *testing.T) {
	tr, p, _, work := managedTrial(t)
	tr.log.fail = killAt(1) // the intent
	tr.run(deadline(t))
	tr.log.fail = nil
	p.says, p.raised = "v1.35.4-gke.1200", nil // the command has just begun
	p.onAwait = func() { p.says = "v1.36.2-gke.1" }
	e := tr.next(t, UnknownStop)
	e.work = work()
	if o := e.run(deadline(t)); o.Result != event.ResultDone || p.awaited != 1 || !slices.Equal(p.raised, []string{"v1.36.2-gke.1 to v1.37"}) {
		t.Errorf("%+v, %q, waited %d times", o, p.raised, p.awaited)
	}
}

// A command of a run that was given up is waited for, too: the next run does not ask beside it.
func TestManagedCommandOfAnotherRun(t *testing.T) {
	tr, p, _, _ := managedTrial(t)
	p.onAwait = func() { p.says = "v1.36.2-gke.1" }
	if o := tr.run(deadline(t)); o.Result != event.ResultDone || p.awaited != 1 || !slices.Equal(p.raised, []string{"v1.36.2-gke.1 to v1.37"}) {
		t.Errorf("%+v, %q, waited %d times", o, p.raised, p.awaited)
	}
}

// Until it was seen at its version, what a run has asked for may still come.
func TestMayBeRaised(t *testing.T) {
	tr, _, _, _ := managedTrial(t)
	record := func(stage int, state State) Record {
		return Record{Kind: KindStage, Stage: stage, Step: StepRaise, State: state}
	}
	for want, records := range map[string][]Record{
		"":      {record(1, Intent), record(1, Done)},
		"v1.36": {record(1, Intent)},
		"v1.37": {record(1, Intent), record(1, Done), record(2, Intent), record(2, Lost)},
	} {
		if got := statusOf(append(slices.Clone(tr.log.records), records...)).mayBeRaised(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	a, b := Identity{UID: "../../uid", Server: "https://a"}, Identity{Server: "https://a"}
	store := NewStore(t.TempDir(), tr.clock)
	if lock := store.planeLock(a); filepath.Dir(lock) != filepath.Join(store.dir, "control-planes") || lock == store.planeLock(b) || lock != store.planeLock(Identity{UID: a.UID, Server: "https://b"}) {
		t.Errorf("%s, %s", lock, store.planeLock(b))
	}
}

// What does not come to be, or comes to be something else, stops the run before any node is touched.
func TestManagedTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*fakePlane)
		says    string // of why it stopped; "" is that it did not
	}{
		"refused":           {func(p *fakePlane) { p.onRaise = func(string) error { return errors.New("quota") } }, "quota"},
		"done all the same": {func(p *fakePlane) { p.onRaise = func(to string) error { p.says = to; return errors.New("timeout") } }, ""},
		"beyond the plan":   {func(p *fakePlane) { p.onRaise = func(string) error { p.says = "v1.38.0"; return nil } }, "the API server is v1.38.0 already"},
		"not what it was":   {func(p *fakePlane) { p.says = "v1.34.1" }, "one minor at a time"},
		"nonsense":          {func(p *fakePlane) { p.says = "latest" }, "latest"},
		"there already":     {func(p *fakePlane) { p.says = "v1.36.9" }, ""},
		"several, and away": {func(p *fakePlane) { p.flaps = []string{"v1.35.4", "v1.36.0", "v1.35.4"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr, p, cloud, _ := managedTrial(t)
			c.prepare(p)
			o := tr.run(deadline(t))
			if c.says == "" && o.Result != event.ResultDone || c.says != "" && (o.Result == event.ResultDone || !strings.Contains(o.Reason, c.says)) {
				t.Errorf("%+v", o)
			}
			for _, l := range cloud.c.log() {
				if c.says != "" && !strings.HasPrefix(l, "raise ") {
					t.Errorf("%s was done", l)
				}
			}
		})
	}
}

// The command's time is for getting there, not for believing it: it may be shorter than what that takes.
func TestManagedSettles(t *testing.T) {
	const there, not = "v1.36.2", "v1.35.4"
	for name, c := range map[string]struct {
		says  []string // after the command, every two seconds; the last of them from then on
		wrong string
	}{
		"there at once":               {[]string{there}, ""},
		"there in the last moment":    {[]string{not, not, not, there}, ""},
		"late":                        {[]string{not, not, not, not, there}, "it says v1.35.4 after 5s"},
		"gone again, beyond its time": {[]string{there, there, there, there, not, there}, "it says v1.35.4 after 5s"},
		"gone again, within its time": {[]string{there, there, not, there}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr, p, _, _ := managedTrial(t)
			tr.spec.Upgrade.Managed.Settle.Duration = time.Minute
			tr.spec.Upgrade.Replace.Provider.Upgrade.Seconds = 5
			clk := clocktesting.NewFakeClock(testTime)
			tr.clock = brisk{clk}
			last := len(c.says) - 1
			p.onRaise = func(string) error {
				p.flaps, p.says = c.says[:last], c.says[last]
				return nil
			}
			says, err := raising{engine: tr.engine, with: tr.work.(upgrading), to: "v1.36"}.raise(deadline(t))
			if c.wrong == "" && (err != nil || says != there || clk.Since(testTime) < time.Minute) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("%q, %v, after %s", says, err, clk.Since(testTime))
			}
		})
	}
}

// Who stops the run while the command is at work is told that it is waited for; an API server that is
// away then is not: its lock is tried to be shortened once.
func TestManagedInterrupted(t *testing.T) {
	tr, p, _, _ := managedTrial(t)
	clk := clocktesting.NewFakeClock(testTime)
	tr.clock = brisk{clk}
	ctx, stop := context.WithCancel(deadline(t))
	p.onRaise = func(string) error {
		stop()
		tr.awaitWarning(deadline(t), "waiting for the provider's command to end, which raises the control plane to v1.36")
		tr.lock.away = 3
		return nil
	}
	_, err := raising{engine: tr.engine, with: tr.work.(upgrading), to: "v1.36"}.raise(ctx)
	if !errors.Is(err, context.Canceled) || clk.Since(testTime) > time.Minute || !slices.Equal(tr.lock.lasted, []time.Duration{outageExpected, lockDuration}) {
		t.Errorf("%v, after %s: the lock was made to last %v", err, clk.Since(testTime), tr.lock.lasted)
	}
}

func TestMeets(t *testing.T) {
	own, managed := &Spec{Upgrade: &Upgrade{}}, &Spec{Upgrade: &Upgrade{Managed: &Managed{}}}
	for _, c := range []struct {
		spec      *Spec
		want, has string
		meets     bool
	}{
		{own, "v1.37.2", "v1.37.2", true}, {own, "v1.37.2", "v1.37.2+k3s1", false}, {own, "v1.37", "v1.37.2", false},
		{managed, "v1.37.2", "v1.37.2-gke.7", true}, {managed, "v1.37.2", "v1.37.3-gke.7", false}, {managed, "v1.37", "v1.37.0-eks-1", true},
		{managed, "v1.37", "v1.36.9", false}, {managed, "v1.37", "", false},
	} {
		if got := c.spec.meets(c.want, c.has); got != c.meets {
			t.Errorf("%s for %s: %t", c.has, c.want, got)
		}
	}
}

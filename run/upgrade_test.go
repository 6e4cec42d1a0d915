// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

func TestUpgrade(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b", "c", "d")
	c.workload("web", "b", "c", "d")
	tr, f := upgradeTrial(t, c, upgradeSpec("a", "b", "c", "d"))
	o := tr.run(deadline(t))
	if o.Result != event.ResultDone || o.Reason != "" {
		t.Errorf("%+v", o)
	}
	f.atVersion(t, "a", "b", "c", "d")
	log := c.log()
	for _, n := range []string{"a", "b", "c", "d"} {
		if got := after(log, n); got != "fetch kubeadm plane cordon drain kubelet running holds uncordon" {
			t.Errorf("%s: %s", n, got)
		}
	}
	// Everything is fetched before anything is touched, and the control plane comes first.
	first := slices.Index(log, "kubeadm a")
	for _, n := range []string{"b", "c", "d"} {
		if slices.Index(log, "fetch "+n) > first || slices.Index(log, "kubeadm "+n) < slices.Index(log, "uncordon a") {
			t.Errorf("the order is %v", log)
		}
	}
	if s := tr.last(t); !contains(s.Message, "4 nodes looked at: all at v1.37.2") {
		t.Errorf("the summary says %q", s.Message)
	}
}

// Two hops, and a control plane whose kubelet comes later: every visit is made.
func TestUpgradeVisits(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	spec := upgradeSpec("a", "b", "c")
	const mid = "v1.36.9"
	spec.Upgrade.Stages = []Stage{
		{Role: FirstControlPlane, Version: mid, Nodes: []string{"a"}, KubeletLater: true},
		{Role: OtherControlPlane, Version: mid, Nodes: []string{"b"}, KubeletLater: true},
		{Role: ControlPlaneKubelet, Version: mid, Nodes: []string{"a"}},
		{Role: FirstControlPlane, Version: newVersion, Nodes: []string{"a"}},
		{Role: OtherControlPlane, Version: newVersion, Nodes: []string{"b"}},
		{Role: Workers, Version: newVersion, Nodes: []string{"c"}},
	}
	tr, _ := upgradeTrial(t, c, spec)
	o := tr.run(deadline(t))
	if o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	for node, want := range map[string]string{
		"a": "fetch kubeadm plane holds cordon drain kubelet running uncordon fetch kubeadm plane cordon drain kubelet running holds uncordon",
		"b": "fetch kubeadm plane holds fetch kubeadm plane cordon drain kubelet running holds uncordon",
		"c": "fetch kubeadm plane cordon drain kubelet running holds uncordon",
	} {
		if got := after(c.log(), node); got != want {
			t.Errorf("%s: %s", node, got)
		}
	}
}

func TestUpgradeAllAtOnce(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c", "d")
	c.workload("web", "b", "c", "d")
	spec := upgradeSpec("a", "b", "c", "d")
	spec.Upgrade.AllAtOnce = true
	tr, f := upgradeTrial(t, c, spec)
	all := make(chan string, 3)
	f.fail = func(node string, step Step, before bool) error {
		if step == "kubelet" && before && node != "a" {
			if all <- node; len(all) == 3 {
				close(all)
			}
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b", "c", "d")
	for _, l := range c.log() {
		if strings.HasPrefix(l, "cordon") || strings.HasPrefix(l, "drain") {
			t.Errorf("%s", l)
		}
	}
}

// After a failure nothing new starts, the message says what state the node is in, and
// resuming does what is left and no more.
func TestUpgradeFailure(t *testing.T) {
	for _, step := range []Step{"kubeadm", "plane", "kubelet", "running"} {
		t.Run(string(step), func(t *testing.T) {
			c := newFakeCluster(t, "a", "b", "c")
			tr, f := upgradeTrial(t, c, upgradeSpec("a", "b", "c"))
			f.fail = func(node string, s Step, before bool) error {
				if s == step && before && node == "b" {
					return errBroken
				}
				return nil
			}
			o := tr.run(deadline(t))
			if o.Result != event.ResultFailed || !contains(o.Hint, "refit runs resume") {
				t.Fatalf("%+v", o)
			}
			n := o.Status.Nodes["b"]
			want := "cordoned and drained, its machine: kubeadm v1.37.2"
			if step == "plane" {
				want = "still serves, its machine: kubeadm v1.37.2"
			}
			if step == "kubeadm" {
				want = "still serves, its machine: kubeadm"
			}
			if !contains(n.Reason, "broken") || !contains(n.Reason, want) || !contains(n.Hint, "resume") {
				t.Errorf("%s; hint %s", n.Reason, n.Hint)
			}
			if got := after(c.log(), "c"); got != "fetch" {
				t.Errorf("c: %s", got)
			}
			f.fail = nil
			e := tr.next(t, UnknownStop)
			e.work = tr.upgrading(f)
			if o := e.run(deadline(t)); o.Result != event.ResultDone {
				t.Fatalf("resumed: %+v", o)
			}
			f.atVersion(t, "a", "b", "c")
		})
	}
}

// What a step says of itself decides nothing; what the machine is like does.
func TestUpgradeExitCodesDoNotDecide(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr, f := upgradeTrial(t, c, upgradeSpec("a", "b"))
	lost := 0
	f.fail = func(node string, s Step, before bool) error {
		switch {
		case s == "plane" && node == "a" && !before:
			return errBroken // and yet it is done
		case s == "kubelet" && node == "b" && before && lost < 2:
			lost++
			return &OutcomeUnknownError{errBroken}
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
	if !tr.warned("ended with an error, and yet") || !tr.warned("the connection was lost") || lost != 2 {
		t.Errorf("warnings are missing, %d losses", lost)
	}
}

// A step that finds no API server is taken again when that answers; while it does not
// answer nothing is done.
func TestUpgradeWithoutServer(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr, f := upgradeTrial(t, c, upgradeSpec("a", "b"))
	away := 0
	f.fail = func(node string, s Step, before bool) error {
		if s == "plane" && node == "b" && before && away < 1 {
			away++
			return &ServerAwayError{errBroken}
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
	if !tr.warned("got nowhere without an API server") || away != 1 {
		t.Errorf("no warning, away %d times", away)
	}
}

// A machine that is not at its version in the end has not been upgraded, whatever the
// steps have said; who resumes goes through them again.
func TestUpgradeVerifies(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := upgradeSpec("a", "b")
	spec.Timeouts.Ready.Duration = 50 * time.Millisecond
	tr, f := upgradeTrial(t, c, spec)
	f.broken["a"] = "kube-scheduler runs from another image"
	o := tr.run(deadline(t))
	if n := o.Status.Nodes["a"]; o.Result != event.ResultFailed || !contains(n.Reason, "kube-scheduler runs from another image") {
		t.Fatalf("%+v, node %+v", o, n)
	}
	if got := after(c.log(), "b"); got != "fetch" {
		t.Errorf("b: %s", got)
	}
	f.at["a"]["plane"], f.broken["a"] = oldVersion, ""
	e := tr.next(t, UnknownStop)
	e.work = tr.upgrading(f)
	if o := e.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("resumed: %+v", o)
	}
	if got := f.ran["a plane "+newVersion]; got != 2 {
		t.Errorf("kubeadm was run %d times", got)
	}
}

// A node that somebody else had cordoned is upgraded, keeps its cordon, and is in
// nobody's way.
func TestUpgradeForeignCordon(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	spec := upgradeSpec("a", "b", "c")
	spec.Nodes[1].Unschedulable = true
	c.nodes["b"].Spec.Unschedulable = true
	tr, f := upgradeTrial(t, c, spec)
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b", "c")
	for name, want := range map[string]bool{"a": false, "b": true, "c": false} {
		if n, _ := c.Node(t.Context(), name); n.Spec.Unschedulable != want {
			t.Errorf("%s: unschedulable %t", name, n.Spec.Unschedulable)
		}
	}
}

func TestUpgradePauses(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Stages[0].Pause = "after the control plane"
	tr, f := upgradeTrial(t, c, spec)
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "paused after the control plane") || !contains(o.Hint, "refit runs resume") {
		t.Fatalf("%+v", o)
	}
	if got := after(c.log(), "b"); got != "fetch" {
		t.Errorf("b: %s", got)
	}
	e := tr.next(t, UnknownStop)
	e.work = tr.upgrading(f)
	if o := e.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("resumed: %+v", o)
	}
	f.atVersion(t, "a", "b")
}

func TestUpgradeHooks(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Hooks = Hooks{BeforeNode: "bn", AfterNode: "an", BeforeStage: "bs", AfterStage: "as"}
	tr, f := upgradeTrial(t, c, spec)
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
	if got := after(c.log(), "a"); got != "fetch run kubeadm plane cordon drain kubelet running holds uncordon run" {
		t.Errorf("a: %s", got)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var hooks []string
	for _, e := range tr.events {
		if e.Type == event.CommandOutput && strings.HasPrefix(e.Message, "export REFIT_VERSION='v1.37.2'\n") {
			hooks = append(hooks, e.Message[strings.IndexByte(e.Message, '\n')+1:])
		}
	}
	if want := "bs bn an as bs bn an as"; strings.Join(hooks, " ") != want {
		t.Errorf("hooks %v, want %s", hooks, want)
	}
}

// A hook that fails before a stage keeps the stage from beginning.
func TestUpgradeHookFails(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Hooks = Hooks{BeforeStage: "bs"}
	tr, f := upgradeTrial(t, c, spec)
	u := tr.upgrading(f)
	u.local = func(node *corev1.Node) host.Host {
		return fakeHost{c: c, node: node.Name, run: func(context.Context, string) error { return &host.ExitError{Code: 3} }}
	}
	tr.work = u
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "--before-stage") || !contains(o.Reason, "status 3") {
		t.Fatalf("%+v", o)
	}
	if got := after(c.log(), "a"); got != "fetch" {
		t.Errorf("a: %s", got)
	}
}

func TestUpgradeFetchFails(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr, f := upgradeTrial(t, c, upgradeSpec("a", "b"))
	f.fail = func(node string, s Step, _ bool) error {
		if node == "b" && s == StepFetch {
			return errBroken
		}
		return nil
	}
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "node b: broken; no node of it was cordoned or upgraded") {
		t.Fatalf("%+v", o)
	}
}

// A connection that is lost while things are fetched does not end the run.
func TestUpgradeFetchIsTriedAgain(t *testing.T) {
	for _, lost := range []error{&OutcomeUnknownError{errBroken}, temporaryError{}} {
		c := newFakeCluster(t, "a", "b")
		tr, f := upgradeTrial(t, c, upgradeSpec("a", "b"))
		tries := 0
		f.fail = func(node string, s Step, _ bool) error {
			if node == "b" && s == StepFetch {
				if tries++; tries == 1 {
					return lost
				}
			}
			return nil
		}
		if o := tr.run(deadline(t)); o.Result != event.ResultDone || tries != 2 {
			t.Fatalf("%d tries, %+v", tries, o)
		}
	}
}

// What a machine may need once more is thrown away last, when etcd is seen to be well.
func TestUpgradeCleansLast(t *testing.T) {
	c := newFakeCluster(t, "a")
	spec := upgradeSpec("a")
	spec.Timeouts.Ready.Duration = 50 * time.Millisecond
	tr, f := upgradeTrial(t, c, spec)
	f.cleans = true
	asked := 0
	f.members = func() []string {
		if asked++; asked > 1 {
			return []string{"its member on node a: ALARM CORRUPT"}
		}
		return nil
	}
	o := tr.run(deadline(t))
	if n := o.Status.Nodes["a"]; o.Result == event.ResultDone || !contains(n.Reason, "ALARM CORRUPT") || f.is("a", "clean", newVersion) {
		t.Fatalf("%+v, node %+v", o, n)
	}
	f.members = nil
	tr.engine = tr.next(t, UnknownStop)
	tr.work = tr.upgrading(f)
	if o := tr.run(deadline(t)); o.Result != event.ResultDone || !f.is("a", "clean", newVersion) {
		t.Fatalf("%+v", o)
	}
}

// A step of which another try makes things worse is not taken again unless somebody says so.
func TestUpgradeStuck(t *testing.T) {
	c := newFakeCluster(t, "a")
	tr, f := upgradeTrial(t, c, upgradeSpec("a"))
	f.fail = func(_ string, s Step, before bool) error {
		if s == "plane" && before {
			return &FinalError{hint.Wrap(errBroken, "look at etcd")}
		}
		return nil
	}
	o := tr.run(deadline(t))
	if n := o.Status.Nodes["a"]; !contains(n.Hint, "look at etcd; only when that is mended") || contains(n.Hint, "carries on") {
		t.Errorf("%+v", n)
	}
	f.fail = nil
	tr.engine = tr.next(t, UnknownStop)
	tr.work = tr.upgrading(f)
	o = tr.run(deadline(t))
	if n := o.Status.Nodes["a"]; o.Result == event.ResultDone || !contains(n.Hint, "--on-unknown-command=rerun") || f.is("a", "plane", newVersion) {
		t.Errorf("%+v, node %+v", o, n)
	}
	tr.engine = tr.next(t, UnknownRerun)
	tr.work = tr.upgrading(f)
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Errorf("%+v", o)
	}
	f.atVersion(t, "a")
}

// No control plane is touched while a member of etcd is missing.
func TestUpgradeWaitsForEtcd(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	c.etcd("a", false)
	spec := upgradeSpec("a", "b")
	tr, f := upgradeTrial(t, c, spec)
	go func() {
		tr.awaitEvent(deadline(t), func(e event.Event) bool { return e.Type == event.StageStarted })
		if got := after(c.log(), "a"); got != "fetch" {
			t.Errorf("a: %s", got)
		}
		c.etcd("a", true)
	}()
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
}

// A member that misses counts as well where this run has nothing to do: an upgrade that was given up
// behind a control plane, and begun anew, has stages for the others alone.
func TestUpgradeWaitsForAllOfEtcd(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	c.nodes["b"].Labels = map[string]string{cluster.ControlPlaneLabel: ""}
	c.etcd("b", false)
	spec := upgradeSpec("a")
	spec.Timeouts.Ready.Duration = 50 * time.Millisecond
	tr, f := upgradeTrial(t, c, spec)
	aside := 0
	f.stepAside = func(string) (string, error) { aside++; return "", nil }
	if o := tr.run(deadline(t)); o.Result != event.ResultUnfinished || !contains(o.Status.Nodes["a"].Reason, "etcd is not whole") {
		t.Fatalf("%+v", o)
	}
	if got := after(c.log(), "a"); got != "fetch" {
		t.Errorf("a: %s", got)
	}
	c.etcd("b", true)
	e := tr.next(t, UnknownStop)
	e.work = tr.upgrading(f)
	if o := e.run(deadline(t)); o.Result != event.ResultDone || !slices.Equal(f.asked, []string{"a", "b"}) || aside != 1 {
		t.Fatalf("%+v; asked %v, stepped aside %d times", o, f.asked, aside)
	}
}

// Before a control plane is worked on another member of etcd leads, if there is one; that it
// does not is no reason to stop.
func TestUpgradeStepsAside(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "w")
	spec := upgradeSpec("a", "w")
	other := Stage{Role: OtherControlPlane, Version: newVersion, Nodes: []string{"b"}}
	spec.Nodes, spec.Upgrade.Stages = testSpec("a", "b", "w").Nodes, slices.Insert(spec.Upgrade.Stages, 1, other)
	tr, f := upgradeTrial(t, c, spec)
	f.stepAside = func(node string) (string, error) {
		c.change(func() { c.did("aside %s", node) })
		if node == "b" {
			return "", errBroken
		}
		return "b", nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b", "w")
	for node, aside := range map[string]bool{"a": true, "b": true, "w": false} {
		if got := after(c.log(), node); strings.HasPrefix(got, "fetch aside ") != aside || strings.Count(got, "aside") > 1 {
			t.Errorf("%s: %s", node, got)
		}
	}
	if !tr.warned("etcd's leadership could not be handed over") {
		t.Error("nobody is warned")
	}
}

// Nor while one of them says that it is not well, before its turn and after it: the next
// node waits.
func TestUpgradeAsksEtcd(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := upgradeSpec("a", "b")
	spec.Timeouts.Ready.Duration = 50 * time.Millisecond
	tr, f := upgradeTrial(t, c, spec)
	f.members = func() []string { return []string{"its member on node a: it is not healthy: ALARM NOSPACE"} }
	o := tr.run(deadline(t))
	if n := o.Status.Nodes["a"]; o.Result != event.ResultUnfinished || !contains(n.Reason, "ALARM NOSPACE") || !contains(n.Hint, "no control plane is touched") {
		t.Fatalf("%+v, node %+v", o, n)
	}
	if got := after(c.log(), "a"); got != "fetch" {
		t.Errorf("a: %s", got)
	}
	asked := 0
	f.members = func() []string {
		if asked++; asked == 1 {
			return nil
		}
		return []string{"its member on node a: it is not healthy: RAFT NO LEADER"}
	}
	e := tr.next(t, UnknownStop)
	e.work = tr.upgrading(f)
	if o := e.run(deadline(t)); o.Result != event.ResultUnfinished || !contains(o.Status.Nodes["a"].Reason, "RAFT NO LEADER") {
		t.Fatalf("%+v", o)
	}
	if got := after(c.log(), "b"); got != "fetch" {
		t.Errorf("b: %s", got)
	}
	f.members = nil
	e = tr.next(t, UnknownStop)
	e.work = tr.upgrading(f)
	if o := e.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a", "b")
}

// A run is killed before and after each record that it writes, and resumed: in the end
// every node is at its version, and no step was run twice. Of the hooks it is known that
// they were begun; who resumes says that they have done their work.
func TestUpgradeKilledAtEveryRecord(t *testing.T) {
	make := func(t *testing.T) (*trial, *fakeFleet) {
		c := newFakeCluster(t, "a", "b", "c")
		c.workload("web", "b", "c")
		spec := upgradeSpec("a", "b", "c")
		spec.Upgrade.Hooks = Hooks{BeforeNode: "bn", AfterNode: "an", BeforeStage: "bs", AfterStage: "as"}
		spec.Upgrade.Stages[0].Pause = "after the control plane"
		return upgradeTrial(t, c, spec)
	}
	resume := func(t *testing.T, tr *trial, f *fakeFleet) Outcome {
		tr.log.fail = nil
		e := tr.next(t, UnknownDone)
		e.work = tr.upgrading(f)
		return e.run(deadline(t))
	}
	tr, f := make(t)
	tr.run(deadline(t))
	if o := resume(t, tr, f); o.Result != event.ResultDone {
		t.Fatalf("without a kill: %+v", o)
	}
	records := len(tr.log.records)
	t.Logf("a run writes %d records", records)
	for n := range records {
		t.Run(fmt.Sprintf("%02d", n), func(t *testing.T) {
			tr, f := make(t)
			tr.log.fail = killAt(n)
			tr.run(deadline(t))
			for i := 0; ; i++ {
				o := resume(t, tr, f)
				if o.Result == event.ResultDone {
					break
				}
				if i == 3 || !contains(o.Reason, "paused") {
					t.Fatalf("resumed: %+v, %+v", o, o.Status.Nodes["a"])
				}
			}
			f.atVersion(t, "a", "b", "c")
			for _, name := range []string{"a", "b", "c"} {
				if n, _ := tr.cluster.Node(t.Context(), name); n.Spec.Unschedulable {
					t.Errorf("%s is cordoned", name)
				}
			}
		})
	}
}

func TestUpgradeSpecs(t *testing.T) {
	for want, change := range map[string]func(*Spec){
		"no stage of the upgrade brings it":    func(s *Spec) { s.Upgrade.Stages[1].Version = oldVersion },
		"want either a command or a reboot or": func(s *Spec) { s.Reboot = true },
		"one at a time":                        func(s *Spec) { s.Upgrade.Stages[0].Nodes = []string{"a", "b"} },
		"unknown role":                         func(s *Spec) { s.Upgrade.Stages[0].Role = "x" },
		"is not one of the run":                func(s *Spec) { s.Upgrade.Stages[1].Nodes = []string{"b", "z"} },
		"cannot be left for later":             func(s *Spec) { s.Upgrade.Stages[1].KubeletLater = true },
		"cannot be there already":              func(s *Spec) { s.Upgrade.Stages[1].KubeletThere = true },
		"is not an absolute path":              func(s *Spec) { s.Upgrade.Patches = "./patches" },
		"no name of a preflight check":         func(s *Spec) { s.Upgrade.IgnorePreflight = []string{"-x"} },
		"node b: ":                             func(s *Spec) { s.Upgrade.Held = map[string][]string{"b": {"bash"}} },
		"stage 2 of the upgrade, node b":       func(s *Spec) { s.Upgrade.To, s.Upgrade.Stages[1].Version = "v1.37", "v1.37" },
	} {
		s := upgradeSpec("a", "b")
		change(s)
		if err := s.validate(); err == nil || !contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

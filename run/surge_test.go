// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// surging is a trial of a run that surges the singleton `one`, which is on node a.
func surging(t *testing.T) (*fakeCluster, *Spec) {
	t.Helper()
	c := newFakeCluster(t, "a", "b", "c")
	c.singleton("one", "a")
	c.workload("web", "a", "b", "b", "b") // a has less to move, and goes first
	spec := testSpec("a", "b")
	spec.MaxUnavailable, _ = ParseShare("1")
	spec.SurgeSingletons = true
	return c, spec
}

func restarts(c *fakeCluster) int {
	n := 0
	for _, l := range c.log() {
		if strings.HasPrefix(l, "restart ") {
			n++
		}
	}
	return n
}

func TestEngineSurgesBeforeItDrains(t *testing.T) {
	defer goleak.VerifyNone(t)
	c, spec := surging(t)
	tr := newTrial(t, c, spec)
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	log := slices.DeleteFunc(c.log(), func(l string) bool { return strings.HasPrefix(l, "note ") })
	want := []string{
		"cordon a", "restart one", "drain a", "reboot a", "uncordon a",
		"cordon b", "restart one", "drain b", "reboot b", "uncordon b", // that is where it went
	}
	if !slices.Equal(log, want) {
		t.Errorf("got  %q\nwant %q", log, want)
	}
	if tr.last(t).Counts.Evicted != 5 { // web: one from a, all four from b
		t.Errorf("%+v", tr.last(t).Counts)
	}
	var phases []event.Phase
	for _, e := range tr.events {
		if e.Type == event.NodePhase && e.Node == "a" {
			phases = append(phases, e.Phase)
		}
	}
	if !slices.Equal(phases[:2], []event.Phase{event.PhaseCordoning, event.PhaseSurging}) {
		t.Errorf("%v", phases)
	}
}

// Whatever record cannot be written, the restart is done once for each node.
func TestEngineSurgesOnce(t *testing.T) {
	for n := 1; ; n++ {
		c, spec := surging(t)
		tr := newTrial(t, c, spec)
		written, full := 0, false
		tr.log.fail = func(Record) error {
			if written++; written >= n {
				full = true
				return unix.ENOSPC
			}
			return nil
		}
		tr.run(deadline(t))
		if !full {
			return
		}
		tr.log.fail = nil
		if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone {
			t.Errorf("record %d: resumed: %+v", n, o)
		}
		if got := restarts(c); got != 2 {
			t.Errorf("record %d: %d restarts: %q", n, got, c.log())
		}
	}
}

// Nothing is drained until the replacement is Ready and the old pod was told to go.
func TestEngineReplacementIsNotReady(t *testing.T) {
	c, spec := surging(t)
	spec.Timeouts.Ready = metav1.Duration{Duration: 50 * time.Millisecond}
	c.onRestart = func(s Surge) error {
		c.change(func() { c.pods = append(c.pods, c.newPod("one-rs", "b", false)) })
		return nil
	}
	tr := newTrial(t, c, spec)
	o := tr.run(deadline(t))
	n := o.Status.Nodes["a"]
	if o.Result != event.ResultUnfinished || n.Standing != Failed || !contains(n.Reason, "Deployment shop/one: pod one-rs-") || !contains(n.Reason, "is not Ready") ||
		!contains(n.Hint, "kubectl rollout undo -n shop deployment/one") {
		t.Errorf("%+v\n%+v", o, n)
	}
	if after(c.log(), "a") != "cordon" {
		t.Errorf("%q", c.log())
	}
	// It becomes Ready; the run is carried on, and restarts nothing for that node again.
	c.onRestart, spec.Timeouts.Ready = nil, DefaultTimeouts().Ready
	c.change(func() {
		c.pods = slices.DeleteFunc(c.pods, func(p *corev1.Pod) bool { return p.Labels["of"] == "one-rs" && p.Spec.NodeName == "b" })
	})
	c.replace("one")
	if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone || restarts(c) != 2 {
		t.Errorf("%+v, %q", o, c.log())
	}
}

func noSurge() *appsv1.RollingUpdateDeployment {
	return &appsv1.RollingUpdateDeployment{MaxSurge: ptr.To(intstr.FromInt32(0)), MaxUnavailable: ptr.To(intstr.FromInt32(1))}
}

func TestEngineCannotSurge(t *testing.T) {
	for what, change := range map[string]func(*appsv1.Deployment){
		"it is paused":                     func(d *appsv1.Deployment) { d.Spec.Paused = true },
		"its strategy is Recreate":         func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType },
		"lets the only pod be away (maxSu": func(d *appsv1.Deployment) { d.Spec.Strategy.RollingUpdate = noSurge() },
	} {
		c, spec := surging(t)
		c.deployment("one", change)
		o := newTrial(t, c, spec).run(deadline(t))
		n := o.Status.Nodes["a"]
		if o.Result != event.ResultFailed || !contains(n.Reason, what) || !contains(n.Hint, "kubectl edit deployment -n shop one") || after(c.log(), "a") != "cordon" {
			t.Errorf("%s: %+v, %+v, %q", what, o, n, c.log())
		}
	}
}

// A pod of a singleton that was bound to the node right before the cordon, and is
// seen only when the drain is under way, is not left to the drain.
func TestEngineLateSingleton(t *testing.T) {
	defer goleak.VerifyNone(t)
	c, spec := surging(t)
	c.pods = c.pods[1:] // not there yet
	late := false
	c.onDrain = func(ctx context.Context, name string) (Drained, error) {
		if late {
			return c.drain(name), nil
		}
		late = true
		c.change(func() { c.pods = append(c.pods, c.newPod("one-rs", name, true)) })
		<-ctx.Done() // the budget never lets it go
		return Drained{Counts: event.Counts{Evicted: 3}, Remaining: []event.Remaining{{Node: name}}}, context.Cause(ctx)
	}
	tr := newTrial(t, c, spec)
	o := tr.run(deadline(t))
	evicted := 0
	for _, n := range o.Status.Nodes {
		evicted += n.Evicted
	}
	if evicted != tr.last(t).Counts.Evicted {
		t.Errorf("the journal tells of %d evictions, the summary of %d", evicted, tr.last(t).Counts.Evicted)
	}
	if o.Result != event.ResultDone || restarts(c) != 2 || tr.last(t).Counts.Blocked != 0 {
		t.Errorf("%+v, %q, %+v", o, c.log(), tr.last(t))
	}
}

func TestEngineNoRoomForTheReplacement(t *testing.T) {
	c, spec := surging(t)
	spec.Timeouts.Ready = metav1.Duration{Duration: 50 * time.Millisecond}
	c.change(func() {
		for _, n := range []string{"b", "c"} {
			c.nodes[n] = c.nodes[n].DeepCopy()
			c.nodes[n].Labels = map[string]string{"full": "yes"}
		}
		c.pods[0].Spec.NodeSelector = map[string]string{"full": "no"}
	})
	o := newTrial(t, c, spec).run(deadline(t))
	n := o.Status.Nodes["a"]
	if n.Standing != Failed || !contains(n.Reason, "fits on no other node") || !contains(n.Reason, "2 nodes: not matched by node selector") || restarts(c) != 0 {
		t.Errorf("%+v, %q", n, c.log())
	}
}

// Two restarts within one second are two.
func TestRestartTime(t *testing.T) {
	first := restartTime(testTime, "")
	second := restartTime(testTime, first)
	if first != testTime.UTC().Format(time.RFC3339) || second != testTime.UTC().Add(time.Second).Format(time.RFC3339) {
		t.Errorf("%s, %s", first, second)
	}
}

func TestNotReplaced(t *testing.T) {
	c, _ := surging(t)
	look := func() *cluster.Workload {
		for _, w := range c.look().Workloads {
			if w.Kind == "Deployment" {
				return w
			}
		}
		return nil
	}
	d := look()
	s := Surge{Namespace: "shop", Name: "one", UID: d.UID, Pods: []types.UID{d.Pods[0].UID}}
	expect := func(want string) {
		t.Helper()
		if got := notReplaced(look(), s, "a"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect("no new pod was made")
	c.pods = append(c.pods, c.newPod("one-rs", "", false))
	replacement := c.pods[len(c.pods)-1]
	expect("pod " + replacement.Name + " is not Ready")
	replacement.Status.Conditions = []corev1.PodCondition{{Type: "PodScheduled", Status: "False", Message: "0/3 nodes are available"}}
	expect("pod " + replacement.Name + " fits on no node: 0/3 nodes are available")
	c.pods[len(c.pods)-1] = c.newPod("one-rs", "b", true)
	expect(fmt.Sprintf("pod %s is Ready, and pod %s was not told to go", c.pods[len(c.pods)-1].Name, c.pods[0].Name))
	c.pods[0].DeletionTimestamp, c.pods[0].Finalizers = &metav1.Time{Time: testTime}, []string{"a.b/c"}
	expect("")
	if got := notReplaced(nil, s, "a"); got != "" {
		t.Errorf("a Deployment that is no more: %q", got)
	}
}

func TestSoak(t *testing.T) {
	t.Run("in a run", func(t *testing.T) {
		c := newFakeCluster(t, "a", "b")
		spec := testSpec("a")
		spec.Soak = metav1.Duration{Duration: time.Millisecond}
		tr := newTrial(t, c, spec)
		if o := tr.run(deadline(t)); o.Result != event.ResultDone {
			t.Fatalf("%+v", o)
		}
		var steps []string
		for _, r := range tr.log.records {
			if r.Kind == KindStep {
				steps = append(steps, string(r.Step)+" "+string(r.State))
			}
		}
		if n := len(steps); !slices.Equal(steps[n-4:], []string{"recover intent", "recover done", "soak intent", "soak done"}) {
			t.Errorf("%v", steps)
		}
	})

	// What a process that was killed has soaked counts for the next one.
	for left, since := range map[time.Duration]time.Time{
		time.Hour:        {}, // the first process
		20 * time.Minute: testTime.Add(-40 * time.Minute),
		0:                testTime.Add(-2 * time.Hour),
		time.Hour + 1:    testTime.Add(time.Hour), // the clock was set back: no longer than it was to be
	} {
		t.Run(left.String(), func(t *testing.T) {
			c := newFakeCluster(t, "a", "b")
			spec := testSpec("a")
			spec.Soak = metav1.Duration{Duration: time.Hour}
			tr := newTrial(t, c, spec)
			clk := clocktesting.NewFakeClock(testTime)
			tr.clock = clk
			w := &worker{engine: tr.engine, target: spec.Nodes[0], status: tr.status.Nodes["a"]}
			w.status.Soaking = since
			done := make(chan error, 1)
			go func() { done <- w.soak(deadline(t)) }()
			if left = min(left, time.Hour); left > 0 {
				for !clk.HasWaiters() && len(done) == 0 {
					runtime.Gosched()
				}
				clk.Step(left - 1)
				select {
				case err := <-done:
					t.Fatalf("it is over too soon: %v", err)
				default:
				}
				clk.Step(1)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("interrupted", func(t *testing.T) {
		c := newFakeCluster(t, "a", "b")
		spec := testSpec("a")
		spec.Soak = metav1.Duration{Duration: time.Hour}
		tr := newTrial(t, c, spec)
		ctx, cancel := context.WithCancel(deadline(t))
		begun := tr.log
		begun.fail = func(r Record) error {
			if r.Step == StepSoak && r.State == Intent {
				cancel()
			}
			return nil
		}
		o := tr.run(ctx)
		if n := o.Status.Nodes["a"]; o.Result != event.ResultUnfinished || n.Standing != Begun || n.Steps[StepRecover] != Done || c.nodes["a"].Spec.Unschedulable {
			t.Errorf("%+v, %+v", o, n)
		}
	})
}

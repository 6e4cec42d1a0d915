// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// after returns what was done to a node, in order, without the Events.
func after(log []string, node string) string {
	var got []string
	for _, l := range log {
		if what, n, _ := strings.Cut(l, " "); n == node {
			got = append(got, what)
		}
	}
	return strings.Join(got, " ")
}

func TestEngineMaintainsEveryNode(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b", "c", "d")
	c.workload("web", "a", "b", "c")
	tr := newTrial(t, c, testSpec("a", "b", "c"))
	o := tr.run(deadline(t))
	if o.Result != event.ResultDone || o.Reason != "" || o.Hint != "" {
		t.Errorf("%+v", o)
	}
	for _, n := range []string{"a", "b", "c"} {
		if got := after(c.log(), n); got != "cordon drain reboot uncordon" {
			t.Errorf("%s: %s", n, got)
		}
		for _, reason := range []string{reasonCordoned, reasonDrained, reasonUncordoned, reasonMaintained} {
			if !slices.Contains(c.log(), "note "+n+" "+reason) {
				t.Errorf("%s has no Event %s", n, reason)
			}
		}
	}
	if got := after(c.log(), "d"); got != "" {
		t.Errorf("node d is not of the run: %s", got)
	}
	s := tr.last(t)
	if s.Result != event.ResultDone || s.Counts.Evicted < 3 {
		t.Errorf("summary %+v", s)
	}
	last := tr.log.records[len(tr.log.records)-1]
	if last.Kind != KindFinished || last.Result != event.ResultDone {
		t.Errorf("the journal ends with %+v", last)
	}
}

// Before each act stands its intent, and after it that it is done.
func TestEngineRecordsBeforeAndAfter(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr := newTrial(t, c, testSpec("a"))
	var acts []string
	tr.log.fail = func(r Record) error {
		acts = append(acts, fmt.Sprintf("%s %s [%s]", r.Step, r.State, after(c.log(), "a")))
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	want := []string{
		"cordon intent []", "cordon done [cordon]",
		"drain intent [cordon]", "drain done [cordon drain]",
		"reboot intent [cordon drain]", "reboot done [cordon drain reboot]",
		"ready intent [cordon drain reboot]", "ready done [cordon drain reboot]",
		"uncordon intent [cordon drain reboot]", "uncordon done [cordon drain reboot uncordon]",
		"recover intent [cordon drain reboot uncordon]", "recover done [cordon drain reboot uncordon]",
		"  [cordon drain reboot uncordon]", "  [cordon drain reboot uncordon]", // the end of the node, and of the run
	}
	if !slices.Equal(acts, want) {
		t.Errorf("got\n%s", strings.Join(acts, "\n"))
	}
}

// Whichever record cannot be written: what it announces is not done, nothing
// after it is, and the next process, with room again, finishes the run.
func TestEngineWithoutRoomForRecord(t *testing.T) {
	for n := 2; ; n++ {
		c := newFakeCluster(t, "a", "b", "c")
		c.workload("web", "a", "b")
		tr := newTrial(t, c, testSpec("a", "b"))
		full, failed, acts := false, "", ""
		tr.log.fail = func(r Record) error {
			if len(tr.log.records) < n {
				return nil
			}
			if !full {
				full, failed, acts = true, r.Node, after(c.log(), r.Node)
			}
			return unix.ENOSPC
		}
		o := tr.run(deadline(t))
		if got := after(c.log(), failed); got != acts {
			t.Errorf("record %d of node %s was not written, and it was acted on: %s, then %s", n, failed, acts, got)
		}
		if !full { // every record had room
			if n < 20 {
				t.Errorf("a run has %d records", n)
			}
			return
		}
		if o.Result == event.ResultDone || !contains(o.Hint, "refit runs resume "+o.Run) || !contains(o.Reason, "write the journal") {
			t.Errorf("record %d: %+v", n, o)
		}
		tr.log.fail = nil
		if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone {
			t.Errorf("record %d: resumed: %+v", n, o)
		}
		for _, name := range []string{"a", "b"} {
			if node := c.nodes[name]; node.Spec.Unschedulable || strings.Count(after(c.log(), name), "reboot") != 1 {
				t.Errorf("record %d: node %s: %s", n, name, after(c.log(), name))
			}
		}
	}
}

func TestEngineFailedCommand(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	spec := testSpec("a", "b", "c")
	spec.Reboot, spec.Command = false, "false"
	spec.MaxUnavailable, _ = ParseShare("1")
	tr := newTrial(t, c, spec)
	tr.hosted(func(context.Context, string) error { return &host.ExitError{Code: 1} })
	o := tr.run(deadline(t))
	if o.Result != event.ResultFailed || !contains(o.Reason, "1 node failed (a)") || !contains(o.Reason, "--max-failures is 0") {
		t.Errorf("%+v", o)
	}
	if !c.nodes["a"].Spec.Unschedulable || after(c.log(), "a") != "cordon drain run" || after(c.log(), "b") != "" {
		t.Errorf("%v", c.log())
	}
	if !slices.Contains(c.log(), "note a "+reasonBlocked) {
		t.Errorf("no Event about the failure: %v", c.log())
	}
	// The cause is mended; resuming tries again, since it is known how the command ended.
	if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone || o.Status.Count(Maintained) != 3 {
		t.Errorf("resumed: %+v", o)
	}
	if c.nodes["a"].Spec.Unschedulable {
		t.Error("node a stays cordoned")
	}
}

func TestEngineMaxFailures(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c", "d")
	spec := testSpec("a", "b", "c", "d")
	spec.Reboot, spec.Command, spec.MaxFailures = false, "false", 1
	tr := newTrial(t, c, spec)
	tr.hosted(func(_ context.Context, node string) error {
		if node == "a" {
			return &host.ExitError{Code: 1}
		}
		return nil
	})
	o := tr.run(deadline(t))
	if o.Result != event.ResultFailed || o.Status.Count(Maintained) != 3 || o.Status.Count(Failed) != 1 {
		t.Errorf("%+v", o)
	}
}

// A command that a killed process had started is not run again unless that is asked for.
func TestEngineUnknownCommand(t *testing.T) {
	begin := func(t *testing.T) (*fakeCluster, *trial) {
		c := newFakeCluster(t, "a", "b")
		spec := testSpec("a")
		spec.Reboot, spec.Command = false, "true"
		tr := newTrial(t, c, spec)
		for _, step := range []Step{StepCordon, StepDrain} {
			for _, state := range []State{Intent, Done} {
				if err := tr.log.Append(Record{Kind: KindStep, Node: "a", Step: step, State: state}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := tr.log.Append(Record{Kind: KindStep, Node: "a", Step: StepCommand, State: Intent}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Cordon(t.Context(), c.nodes["a"], spec.Run); err != nil {
			t.Fatal(err)
		}
		return c, tr
	}
	t.Run("stop", func(t *testing.T) {
		c, tr := begin(t)
		o := tr.next(t, UnknownStop).run(deadline(t))
		n := o.Status.Nodes["a"]
		if o.Result != event.ResultFailed || !contains(n.Reason, "not known") || !contains(n.Hint, "--on-unknown-command") {
			t.Errorf("%+v, %+v", o, n)
		}
		if after(c.log(), "a") != "cordon" || !c.nodes["a"].Spec.Unschedulable {
			t.Errorf("%v", c.log())
		}
		// And again: it does not become known by failing.
		if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultFailed {
			t.Errorf("%+v", o)
		}
		if o := tr.next(t, UnknownRerun).run(deadline(t)); o.Result != event.ResultDone || after(c.log(), "a") != "cordon drain run uncordon" {
			t.Errorf("%+v: %v", o, c.log())
		}
	})
	t.Run("done", func(t *testing.T) {
		c, tr := begin(t)
		o := tr.next(t, UnknownDone).run(deadline(t))
		if o.Result != event.ResultDone || after(c.log(), "a") != "cordon uncordon" {
			t.Errorf("%+v: %v", o, c.log())
		}
	})
}

func TestEngineInterruptedDuringDrain(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	tr := newTrial(t, c, testSpec("a", "b", "c"))
	ctx, cancel := context.WithCancel(deadline(t))
	left := event.Remaining{Node: "a", Pod: event.Pod{Namespace: "shop", Name: "web"}}
	c.onDrain = func(ctx context.Context, _ string) (Drained, error) {
		cancel()
		<-ctx.Done()
		return Drained{Remaining: []event.Remaining{left}}, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	o := tr.run(ctx)
	if o.Result != event.ResultUnfinished || o.Reason != "interrupted" || !contains(o.Hint, "refit runs resume "+o.Run) {
		t.Errorf("%+v", o)
	}
	if s := tr.last(t); len(s.Remaining) == 0 || s.Counts.Blocked == 0 {
		t.Errorf("%+v", s)
	}
	c.onDrain = nil
	if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone {
		t.Errorf("resumed: %+v", o)
	}
}

// A command is not cut off: the run waits for it, records it and stops then.
func TestEngineInterruptedDuringCommand(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b")
	spec := testSpec("a", "b")
	spec.Reboot, spec.Command = false, "true"
	spec.MaxUnavailable, _ = ParseShare("1")
	tr := newTrial(t, c, spec)
	ctx, cancel := context.WithCancel(deadline(t))
	tr.hosted(func(run context.Context, _ string) error {
		cancel()
		tr.awaitWarning(run, "waiting for the command to end for a")
		return run.Err()
	})
	o := tr.run(ctx)
	if o.Result != event.ResultUnfinished || o.Status.Nodes["a"].Steps[StepCommand] != Done {
		t.Errorf("%+v", o)
	}
	if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone || strings.Count(after(c.log(), "a"), "run") != 1 {
		t.Errorf("resumed: %+v: %v", o, c.log())
	}
}

func TestEngineLostLock(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b", "c")
	tr := newTrial(t, c, testSpec("a", "b", "c"))
	c.onDrain = func(ctx context.Context, _ string) (Drained, error) {
		select {
		case <-tr.lock.lost:
		default:
			close(tr.lock.lost)
		}
		<-ctx.Done()
		return Drained{}, context.Cause(ctx)
	}
	spec := tr.spec
	spec.MaxUnavailable, _ = ParseShare("1")
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, errLockLost.Error()) || after(c.log(), "a") != "cordon" {
		t.Errorf("%+v: %v", o, c.log())
	}
}

// The lock is looked at right before a node is touched.
func TestEngineLockNotHeld(t *testing.T) {
	c := newFakeCluster(t, "a")
	tr := newTrial(t, c, testSpec("a"))
	tr.lock.err = errLockLost
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || len(c.log()) != 0 || o.Status.Count(Failed) != 0 {
		t.Errorf("%+v: %v", o, c.log())
	}
}

func TestEngineUnreachable(t *testing.T) {
	c := newFakeCluster(t, "a")
	spec := testSpec("a")
	spec.Timeouts.Stall = metav1.Duration{Duration: time.Millisecond}
	tr := newTrial(t, c, spec)
	c.onNode = func(string) error { return apierrors.NewServiceUnavailable("restarting") }
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "restarting") || o.Status.Count(Failed) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestEngineUnreachableForAWhile(t *testing.T) {
	c := newFakeCluster(t, "a")
	tr := newTrial(t, c, testSpec("a"))
	failures := 2
	c.onNode = func(string) error {
		if failures--; failures >= 0 {
			return apierrors.NewServiceUnavailable("restarting")
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Errorf("%+v", o)
	}
}

func TestEngineForbidden(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	spec := testSpec("a", "b")
	spec.Timeouts.Stall.Duration = time.Millisecond // there is no use in waiting here
	tr := newTrial(t, c, spec)
	c.onNode = func(string) error { return apierrors.NewForbidden(corev1.Resource("nodes"), "a", errors.New("no")) }
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || o.Status.Count(Failed) != 0 || !contains(o.Reason, "forbidden") {
		t.Errorf("%+v", o)
	}
}

func TestEngineWatchRefused(t *testing.T) {
	c := newFakeCluster(t, "a")
	tr := newTrial(t, c, testSpec("a"))
	c.err = errors.New("certificate has expired")
	c.onDrain = func(ctx context.Context, _ string) (Drained, error) {
		close(c.done)
		<-ctx.Done()
		return Drained{}, context.Cause(ctx)
	}
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "certificate has expired") {
		t.Errorf("%+v", o)
	}
}

func TestEngineNodeDeleted(t *testing.T) {
	for _, when := range []string{"before", "cordoned", "drained", "rebooted"} {
		t.Run(when, func(t *testing.T) {
			c := newFakeCluster(t, "a", "b", "c")
			spec := testSpec("a", "b")
			spec.MaxUnavailable, _ = ParseShare("1")
			tr := newTrial(t, c, spec)
			remove := func() { c.change(func() { delete(c.nodes, "a") }) }
			switch when {
			case "before":
				remove()
			case "cordoned":
				c.onDrain = func(_ context.Context, name string) (Drained, error) {
					if name == "a" {
						remove()
						return Drained{}, fmt.Errorf("drain: %w", drain.ErrNodeDeleted)
					}
					return c.drain(name), nil
				}
			case "drained":
				c.onDrain = func(_ context.Context, name string) (Drained, error) {
					d := c.drain(name)
					if name == "a" {
						remove()
					}
					return d, nil
				}
			case "rebooted":
				tr.log.fail = func(r Record) error {
					if r.Node == "a" && r.Step == StepReboot && r.State == Done {
						remove()
					}
					return nil
				}
			}
			o := tr.run(deadline(t))
			if o.Result != event.ResultDone || o.Status.Nodes["a"].Standing != Skipped || o.Status.Nodes["b"].Standing != Maintained {
				t.Errorf("%+v", o)
			}
			if !contains(o.Reason, "1 node deleted meanwhile (a)") || !tr.warned("deleted") {
				t.Errorf("%+v", o)
			}
			if o.Status.Phase != PhaseFinished {
				t.Errorf("the run is %s", o.Status.Phase)
			}
		})
	}
}

func TestEngineNodeReplaced(t *testing.T) {
	for _, when := range []string{"before", "drained"} {
		t.Run(when, func(t *testing.T) {
			c := newFakeCluster(t, "a", "b")
			tr := newTrial(t, c, testSpec("a"))
			replace := func() {
				c.change(func() {
					other := readyNode("a")
					other.UID = types.UID("another")
					c.nodes["a"] = other
				})
			}
			if when == "before" {
				replace()
			} else {
				c.onDrain = func(_ context.Context, name string) (Drained, error) {
					replace()
					return Drained{}, nil
				}
			}
			o := tr.run(deadline(t))
			if o.Result != event.ResultFailed || !o.Status.Nodes["a"].Replaced || !contains(o.Reason, "replaced") {
				t.Errorf("%+v", o)
			}
			if n := c.nodes["a"]; n.Spec.Unschedulable || n.Status.NodeInfo.BootID != "boot-1" || n.Annotations != nil {
				t.Errorf("the other node was touched: %+v", n)
			}
		})
	}
}

// Somebody cordons a node while the run waits to start it: it is left to them.
func TestEngineForeignCordonMeanwhile(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c", "d")
	spec := testSpec("a", "b")
	spec.MaxUnavailable, _ = ParseShare("3")
	tr := newTrial(t, c, spec)
	c.onNode = func(name string) error { // between the decision and the look at the node
		if name == "b" {
			c.change(func() { c.nodes["b"] = c.nodes["b"].DeepCopy(); c.nodes["b"].Spec.Unschedulable = true })
		}
		return nil
	}
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "b (somebody has cordoned it") {
		t.Errorf("%+v", o)
	}
	if after(c.log(), "b") != "" || o.Status.Nodes["a"].Standing != Maintained {
		t.Errorf("%v", c.log())
	}
}

func TestEngineCordonedBeforeTheRun(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	c.nodes["a"].Spec.Unschedulable = true
	spec := testSpec("a", "b")
	spec.Nodes[0].Unschedulable = true
	spec.MaxUnavailable, _ = ParseShare("1")
	tr := newTrial(t, c, spec)
	// b can only start once a, which stays out, does not use the slot; it never does.
	spec.Timeouts.Stall = metav1.Duration{Duration: 10 * time.Millisecond}
	o := tr.run(deadline(t))
	if o.Result != event.ResultUnfinished || !contains(o.Reason, "a (cordoned") {
		t.Errorf("%+v", o)
	}
	if after(c.log(), "a") != "cordon drain reboot uncordon" || !c.nodes["a"].Spec.Unschedulable || after(c.log(), "b") != "" {
		t.Errorf("%v", c.log())
	}
}

// Somebody uncordons a node before its machine is touched.
func TestEngineUncordonedMeanwhile(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr := newTrial(t, c, testSpec("a"))
	c.onDrain = func(_ context.Context, name string) (Drained, error) {
		d := c.drain(name)
		c.change(func() { c.nodes["a"] = readyNode("a") })
		return d, nil
	}
	o := tr.run(deadline(t))
	if o.Result != event.ResultFailed || !contains(o.Status.Nodes["a"].Reason, "uncordoned") || contains(after(c.log(), "a"), "reboot") {
		t.Errorf("%+v: %v", o, c.log())
	}
}

// A pod that was bound to the node right before the cordon is seen by the API
// server and not by the watches: the node is drained again.
func TestEngineDrainsUntilEmpty(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	c.workload("web", "b")
	tr := newTrial(t, c, testSpec("a"))
	drains := 0
	c.onDrain = func(_ context.Context, name string) (Drained, error) {
		d := c.drain(name)
		if drains++; drains == 1 {
			c.change(func() { c.pods = append(c.pods, c.newPod("web", "a", true)) })
		}
		return d, nil
	}
	o := tr.run(deadline(t))
	if o.Result != event.ResultDone || after(c.log(), "a") != "cordon drain drain reboot uncordon" {
		t.Errorf("%+v: %v", o, c.log())
	}
}

func TestEngineTimeouts(t *testing.T) {
	short := metav1.Duration{Duration: 20 * time.Millisecond}
	for name, c := range map[string]struct {
		arrange func(*fakeCluster, *trial)
		reason  string
		cordon  bool
	}{
		"drain": {func(c *fakeCluster, tr *trial) {
			tr.spec.Timeouts.Drain = short
			c.onDrain = func(ctx context.Context, _ string) (Drained, error) {
				<-ctx.Done()
				return Drained{Remaining: []event.Remaining{{Pod: event.Pod{Namespace: "shop", Name: "web"}, Blocker: event.Blocker{Message: "budget"}}}}, context.Cause(ctx)
			}
		}, "shop/web: budget", true},
		"ready": {func(c *fakeCluster, tr *trial) {
			tr.spec.Timeouts.Ready = short
			c.onDrain = func(_ context.Context, name string) (Drained, error) {
				d := c.drain(name)
				c.change(func() {
					c.nodes[name] = c.nodes[name].DeepCopy()
					c.nodes[name].Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: "no network"}
				})
				return d, nil
			}
		}, "no network", true},
		"reboot": {func(c *fakeCluster, tr *trial) {
			tr.spec.Timeouts.Ready = short
			tr.work = maintenance{hosts: func(*corev1.Node) host.Host { return deafHost{} }}
		}, "its boot ID is still boot-1", true},
		"recover": {func(c *fakeCluster, tr *trial) {
			tr.spec.Timeouts.Recover = short
			c.newPodsReady = false
		}, "ReplicaSet shop/web has 0 of 1 pods ready", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeCluster(t, "a", "b")
			f.workload("web", "a")
			tr := newTrial(t, f, testSpec("a"))
			c.arrange(f, tr)
			o := tr.run(deadline(t))
			n := o.Status.Nodes["a"]
			if o.Result != event.ResultUnfinished || !n.Timeout || !contains(n.Reason, c.reason) || n.Hint == "" || o.Hint == "" {
				t.Errorf("%+v, %+v", o, n)
			}
			if f.nodes["a"].Spec.Unschedulable != c.cordon {
				t.Errorf("cordoned: %t", f.nodes["a"].Spec.Unschedulable)
			}
		})
	}
}

// deafHost takes requests and does nothing.
type deafHost struct{}

func (deafHost) Run(context.Context, string, host.Output) error { return nil }
func (deafHost) Reboot(context.Context, string) error           { return nil }

// A slot is free only when the evicted workloads are back.
func TestEngineWaitsForRecovery(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	c.workload("web", "a")
	c.workload("api", "b", "b") // more to move: a goes first
	c.newPodsReady = false
	spec := testSpec("a", "b")
	spec.MaxUnavailable, _ = ParseShare("1")
	tr := newTrial(t, c, spec)
	tr.log.fail = func(r Record) error {
		if r.Node == "a" && r.Step == StepRecover && r.State == Intent {
			if after(c.log(), "b") != "" {
				t.Error("b was started before a was back")
			}
			go c.change(func() {
				c.newPodsReady = true
				for i, p := range c.pods {
					c.pods[i] = c.newPod(p.OwnerReferences[0].Name, p.Spec.NodeName, true)
				}
			})
		}
		return nil
	}
	if o := tr.run(deadline(t)); o.Result != event.ResultDone {
		t.Errorf("%+v", o)
	}
}

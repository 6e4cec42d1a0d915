// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

// stuckCluster has two pods of a ReplicaSet on node a, which is their only home, under a
// budget of which one must run.
func stuckCluster(t *testing.T) *fakeCluster {
	c := newFakeCluster(t, "a", "b", "c")
	c.nodes["a"].Labels = map[string]string{"home": "web"}
	c.workload("web", "a", "a")
	c.objs = append(c.objs, nil)
	c.allow(1)
	return c
}

// allow says in the budget's status how many evictions it allows.
func (c *fakeCluster) allow(disruptions int32) {
	c.objs[1] = &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"of": "web"}},
		},
		Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: disruptions, CurrentHealthy: 1 + disruptions, DesiredHealthy: 1, ExpectedPods: 2},
	}
}

// displace evicts the second pod, and the scheduler finds no place for it.
func (c *fakeCluster) displace() {
	c.change(func() {
		pod := c.newPod("web", "", false)
		pod.Spec.NodeSelector = map[string]string{"home": "web"}
		pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		}}
		c.pods[1] = pod
		c.allow(0)
	})
}

// place binds the pod that waits to a node.
func (c *fakeCluster) place(node string) {
	c.change(func() {
		for i, p := range c.pods {
			if p.Spec.NodeName == "" {
				c.pods[i] = c.newPod("web", node, true)
				c.allow(1)
			}
		}
	})
}

// standsStill is the drain of node a for the first few times.
func standsStill(c *fakeCluster, times int) func(context.Context, string) (Drained, error) {
	return func(ctx context.Context, name string) (Drained, error) {
		if name == "a" && times > 0 {
			times--
			c.displace()
			<-ctx.Done()
			return Drained{}, context.Cause(ctx)
		}
		return c.drain(name), nil
	}
}

func TestStandstillGivesTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := stuckCluster(t)
		c.onDrain = standsStill(c, 1)
		tr := newTrial(t, c, testSpec("a"))
		go func() {
			tr.awaitEvent(t.Context(), func(e event.Event) bool { return e.Type == event.NodeUncordoned && e.Node == "a" })
			c.place("c")
		}()
		begun := time.Now()
		o := tr.run(t.Context())
		if o.Result != event.ResultDone {
			t.Fatalf("%+v", o)
		}
		if took := time.Since(begun); took < 2*patience || took > 3*patience {
			t.Errorf("it took %s", took)
		}
		if !tr.warned("pod shop/web-3 fits on no other node, and as long as it does not run budget web keeps pod shop/web-1") {
			t.Errorf("nobody was told: %+v", tr.events)
		}
		if got := after(c.log(), "a"); got != "cordon uncordon cordon drain reboot uncordon" {
			t.Errorf("a: %s", got)
		}
		if n := o.Status.Nodes["a"]; n.Retreats != 1 || n.Standing != Maintained || n.Evicted != 1 {
			t.Errorf("%+v", n)
		}
		if got := statusOf(tr.log.records).Nodes["a"]; got.Retreats != 1 || got.Standing != Maintained {
			t.Errorf("the journal adds up to %+v", got)
		}
	})
}

// A process that is killed while the node gives its turn back is followed by one that
// begins with the cordon again.
func TestStandstillInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := stuckCluster(t)
		c.onDrain = standsStill(c, 1)
		tr := newTrial(t, c, testSpec("a"))
		tr.log.fail = func(r Record) error {
			if r.Step == StepRetreat && r.State == Done {
				return errors.New("killed")
			}
			return nil
		}
		go func() {
			tr.awaitEvent(t.Context(), func(e event.Event) bool { return e.Type == event.NodeUncordoned })
			c.place("c")
		}()
		if o := tr.run(t.Context()); o.Result == event.ResultDone {
			t.Fatalf("%+v", o)
		}
		tr.log.fail = nil
		o := tr.next(t, UnknownStop).run(t.Context())
		if o.Result != event.ResultDone {
			t.Errorf("%+v", o)
		}
		if got := after(c.log(), "a"); got != "cordon uncordon cordon drain reboot uncordon" {
			t.Errorf("a: %s", got)
		}
	})
}

func TestNodesThatGaveTheirTurnBackGoLast(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	spec := testSpec("a", "b", "c")
	for _, order := range [][]string{nil, {"a", "b", "c"}} {
		spec.Order = order
		w := spec.view(c.look()).World
		var got []string
		for _, n := range spec.order(w, map[string]*NodeStatus{"a": {Retreats: 1}, "b": {}}).Nodes {
			got = append(got, w.Name(n))
		}
		if !slices.Equal(got, []string{"b", "c", "a"}) {
			t.Errorf("with order %q: %q", order, got)
		}
	}
}

// What does not help is not tried for ever: the drain then waits until its time is over.
func TestStandstillThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := stuckCluster(t)
		c.onDrain = standsStill(c, 100)
		spec := testSpec("a")
		spec.Timeouts.Recover.Duration = time.Minute
		tr := newTrial(t, c, spec)
		go func() { // the scheduler gives the pod its old place each time
			for range mostRetreats {
				tr.awaitEvent(t.Context(), func(event.Event) bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return !c.nodes["a"].Spec.Unschedulable && slices.ContainsFunc(c.pods, func(p *corev1.Pod) bool { return p.Spec.NodeName == "" })
				})
				c.place("a")
			}
		}()
		o := tr.run(t.Context())
		n := o.Status.Nodes["a"]
		if o.Result != event.ResultUnfinished || n.Standing != Failed || !n.Timeout || n.Retreats != mostRetreats {
			t.Errorf("%+v, %+v", o, n)
		}
		if got := after(c.log(), "a"); got != "cordon uncordon cordon uncordon cordon uncordon cordon" {
			t.Errorf("a: %s", got)
		}
	})
}

func TestFindStandstill(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeCluster)
		still  bool
	}{
		"as it is": {func(*fakeCluster) {}, true},
		"the pod fits elsewhere": {func(c *fakeCluster) {
			c.nodes["b"].Labels = map[string]string{"home": "web"}
		}, true}, // the scheduler says that it does not
		"the pod fits nowhere": {func(c *fakeCluster) {
			c.pods[1].Spec.NodeSelector = map[string]string{"home": "another"}
		}, false},
		"the scheduler has not tried it": {func(c *fakeCluster) { c.pods[1].Status.Conditions = nil }, false},
		"the pod that is left goes": {func(c *fakeCluster) {
			now := metav1.Now()
			c.pods[0].DeletionTimestamp = &now
		}, false},
		"the budget lets it go": {func(c *fakeCluster) {
			c.allow(1)
		}, false},
		"no budget": {func(c *fakeCluster) { c.objs = c.objs[:1] }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := stuckCluster(t)
			f.displace()
			f.nodes["a"].Spec.Unschedulable = true
			c.change(f)
			got := findStandstill(f.look(), "a", testSpec("a").drainRules(time.Now))
			if (got.why != "") != c.still {
				t.Errorf("%+v", got)
			}
		})
	}
}

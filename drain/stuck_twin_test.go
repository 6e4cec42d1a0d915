// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
)

// Everything that keeps pods on their nodes for ever is told.
func TestStuckOnTwin(t *testing.T) {
	g := newGround(t, twin.Options{Scenario: "stuck"})
	g.untilStuckReady()

	nodes := g.nodes("node-01", "node-02", "node-03")
	refused, err := g.drainer().Nodes(g.ctx, nodes, "test", false)
	if err == nil || refused.Result != event.ResultBlocked || !strings.Contains(refused.Message, "stuck/bare") {
		t.Errorf("%+v, %v", refused, err)
	}

	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	type end struct {
		summary event.Event
		err     error
	}
	done := make(chan end, 1)
	go func() {
		summary, err := g.drainer(func(o *Options) {
			o.Force, o.DeleteEmptyDirData, o.GracePeriod = true, true, ptr.To[int64](1)
		}).Nodes(ctx, nodes, "test", false)
		done <- end{summary, err}
	}()

	if b := g.blocked(event.CauseBudget, "never-lets-go"); !strings.Contains(b.Hint, "never") || len(b.Budgets) != 1 || b.Budgets[0].DesiredHealthy != 3 {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseBudget, "singleton"); !strings.Contains(b.Hint, "never") {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseTwoBudgets, "two-budgets"); len(b.Budgets) != 2 {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseBudget, "eaten"); len(b.Budgets) != 1 || len(b.Budgets[0].Unready) != 2 || !strings.Contains(b.Budgets[0].Unready[0], "eaten-broken") {
		t.Errorf("%+v", b)
	}
	if b := g.blocked(event.CauseFinalizer, "finalizer"); !strings.Contains(b.Message, "twin.refit.dev/stuck") {
		t.Errorf("%+v", b)
	}
	g.blocked(event.CauseTerminating, "endless")
	// Now its machine dies, and the node controller finds out.
	endless := g.w.Pod("stuck", g.told("", func(e event.Event) bool { return e.Pod != nil && strings.HasPrefix(e.Pod.Name, "endless") }).Pod.Name)
	g.killKubelet(endless.Spec.NodeName)
	g.blocked(event.CauseKubelet, "endless")

	cancel()
	got := <-done
	if !errors.Is(got.err, context.Canceled) || got.summary.Result != event.ResultUnfinished {
		t.Errorf("%v", got.err)
	}
	causes := map[string]event.Cause{
		"never-lets-go": event.CauseBudget, "singleton": event.CauseBudget, "two-budgets": event.CauseTwoBudgets,
		"eaten": event.CauseBudget, "finalizer": event.CauseFinalizer, "endless": event.CauseKubelet,
	}
	for _, r := range got.summary.Remaining {
		known := false
		for prefix, cause := range causes {
			known = known || strings.HasPrefix(r.Pod.Name, prefix) && r.Blocker.Cause == cause
		}
		if !known {
			t.Errorf("remains: %s %+v", r.Pod, r.Blocker)
		}
	}
	for _, n := range g.nodes("node-01", "node-02", "node-03") {
		if n.Spec.Unschedulable {
			t.Errorf("%s stays cordoned", n.Name)
		}
	}
}

// untilStuckReady waits until every pod of the scenario runs and its budgets know
// it, but for those that share their pods: of these the disruption controller counts
// for one at a time, whichever it comes upon first.
func (g *ground) untilStuckReady() {
	g.t.Helper()
	const pods = 18
	g.until("the scenario to be there", func() bool {
		running := 0
		for _, n := range []string{"node-01", "node-02", "node-03"} {
			for _, pod := range g.w.PodsOn(n) {
				if pod.Status.Phase == corev1.PodRunning {
					running++
				}
			}
		}
		for name, healthy := range map[string]int32{"never-lets-go": 3, "singleton": 1, "eaten": 3} {
			b := g.w.Budget("stuck", name)
			if b == nil || b.Status.CurrentHealthy != healthy || b.Status.ObservedGeneration != b.Generation {
				return false
			}
			for _, pod := range g.w.PodsOf(b) { // which come by another watch than the budget
				if isReady(pod) {
					healthy--
				}
			}
			if healthy != 0 {
				return false
			}
		}
		return running == pods
	})
}

// killKubelet stops a kubelet and makes the node controller's finding known at once.
func (g *ground) killKubelet(node string) {
	g.t.Helper()
	g.patchNode(node, map[string]any{"metadata": map[string]any{"labels": map[string]any{simulated.KubeletLabel: simulated.KubeletStopped}}})
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the node's controllers write to it, too
		n := must[*corev1.Node](g.t)(g.admin.CoreV1().Nodes().Get(g.ctx, node, metav1.GetOptions{}))
		for i := range n.Status.Conditions {
			if n.Status.Conditions[i].Type == corev1.NodeReady {
				n.Status.Conditions[i].Status = corev1.ConditionUnknown
			}
		}
		_, err := g.admin.CoreV1().Nodes().UpdateStatus(g.ctx, n, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

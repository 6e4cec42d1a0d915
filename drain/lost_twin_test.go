// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
)

// TestLostNodeOnTwin drains a node whose kubelet does not answer: not without being
// told that the machine is off, and then to the end, budgets or not.
func TestLostNodeOnTwin(t *testing.T) {
	g := newGround(t, twin.Options{Nodes: 3, Zones: 1, NodeLease: 8 * time.Second, NodeMonitorGracePeriod: 10 * time.Second})
	g.mark("lost", "node-02", "node-03")
	g.cordon(true, "node-03")
	g.deploy("lost", "web", 3, nil)
	g.budget("web", 0) // never lets a pod go
	g.deploy("lost", "tolerant", 1, nil)
	g.tolerateOutOfService("tolerant")
	g.database("lost", "db")
	g.until("the volume to be attached", func() bool { return len(g.w.Attachments("node-02")) == 1 })
	g.cordon(false, "node-03")
	before := g.moving("node-02")
	if len(before) != 5 {
		t.Fatalf("%d pods on node-02", len(before))
	}

	if err := g.tw.FailNode(g.ctx, "node-02"); err != nil {
		t.Fatal(err)
	}
	g.until("the node to be lost", func() bool { return cluster.Lost(g.w.Node("node-02")) })

	t.Run("not without being told", func(t *testing.T) {
		g := g.on(t)
		summary, err := g.drainer().Nodes(g.ctx, g.nodes("node-02", "node-01"), "drain-1", false)
		lost := (*LostError)(nil)
		if !errors.As(err, &lost) || lost.Node != "node-02" || summary.Result != event.ResultBlocked || summary.Evicted != 0 ||
			!strings.Contains(summary.Message, "5 pods would stay Terminating") || !strings.Contains(hint.Of(lost)+summary.Hint, "--confirm-node-is-off") {
			t.Errorf("%+v, %v", summary, err)
		}
		g.untouched("node-01", "node-02")
		if now := g.moving("node-02"); !slices.Equal(before, now) {
			t.Errorf("pods before %v, now %v", before, now)
		}
	})

	t.Run("not if one of them answers", func(t *testing.T) {
		g := g.on(t)
		summary, err := g.confirmed().Nodes(g.ctx, g.nodes("node-02", "node-01"), "drain-2", false)
		lost := (*LostError)(nil)
		if !errors.As(err, &lost) || lost.Node != "node-01" || summary.Result != event.ResultBlocked {
			t.Errorf("%+v, %v", summary, err)
		}
		g.untouched("node-01", "node-02")
	})

	t.Run("server dry run", func(t *testing.T) {
		g := g.on(t)
		d := g.drainer(func(o *Options) { o.ConfirmNodeIsOff, o.DryRun = true, DryRunServer })
		summary, err := d.Nodes(g.ctx, g.nodes("node-02"), "drain-3", false)
		if err != nil || summary.Result != event.ResultDone || summary.Evicted != 5 || summary.Blocked != 0 {
			t.Errorf("%+v, %v", summary, err) // the budget, which lets nobody go, is not asked
		}
		g.told("the taint", func(e event.Event) bool { return e.Type == event.NodeOutOfService })
		g.untouched("node-02")
	})

	t.Run("confirmed", func(t *testing.T) {
		g := g.on(t)
		summary, err := g.confirmed().Nodes(g.ctx, g.nodes("node-02"), "drain-4", false)
		if err != nil || summary.Result != event.ResultDone || summary.Evicted != 5 || summary.Gone != 5 || summary.Blocked != 0 {
			t.Fatalf("%+v, %v", summary, err)
		}
		if rest := g.moving("node-02"); len(rest) != 0 || len(g.w.Attachments("node-02")) != 0 {
			t.Errorf("still on the node: %v, %v", rest, g.w.Attachments("node-02"))
		}
		node := g.nodes("node-02")[0]
		mark, marked := cluster.OutOfServiceMarkOf(node)
		if !marked || mark.Run != "drain-4" || !cluster.OutOfService(node) || !node.Spec.Unschedulable {
			t.Errorf("annotations %v, taints %v", node.Annotations, node.Spec.Taints)
		}
		g.told("who takes the taint off", func(e event.Event) bool {
			return e.Type == event.Warning && strings.Contains(e.Message, "keeps the taint") && strings.Contains(e.Hint, "refit uncordon node-02")
		})
		// What was lost is back, with its volume, on the other node.
		g.untilReady("web", 3)
		g.untilReady("tolerant", 1)
		g.untilReady("db", 1)
		if now := g.w.Pod("default", "db-0"); slices.Contains(before, now.UID) || now.Spec.NodeName != "node-03" {
			t.Errorf("db-0 is on %s", now.Spec.NodeName)
		}
		g.until("the volume to be attached to the other node", func() bool { return len(g.w.Attachments("node-03")) == 1 })
	})

	t.Run("empty by now", func(t *testing.T) {
		g := g.on(t)
		if summary, err := g.drainer().Nodes(g.ctx, g.nodes("node-02"), "drain-5", false); err != nil {
			t.Errorf("%+v, %v", summary, err)
		}
	})

	t.Run("it comes back", func(t *testing.T) {
		g := g.on(t)
		changed, err := UncordonByHand(g.ctx, g.client, g.nodes("node-02")[0], false)
		if _, marked := cluster.OutOfServiceMarkOf(g.nodes("node-02")[0]); !changed || err != nil || !marked {
			t.Errorf("uncordoned while it is lost: changed %v, %v, still marked %v", changed, err, marked)
		}
		if err := g.tw.RecoverNode(g.ctx, "node-02"); err != nil {
			t.Fatal(err)
		}
		g.until("the node to be Ready", func() bool { return cluster.Ready(g.w.Node("node-02")) })
		if _, err := g.confirmed().Nodes(g.ctx, g.nodes("node-02"), "drain-6", false); err == nil {
			t.Error("a node that is Ready was said to be off, and nobody minded")
		}
		if summary, err := g.drainer().Nodes(g.ctx, g.nodes("node-02"), "drain-7", false); err != nil {
			t.Errorf("%+v, %v", summary, err)
		}
		g.told("that it is back", func(e event.Event) bool { return e.Type == event.NodeInService })
		node := g.nodes("node-02")[0]
		if _, marked := cluster.OutOfServiceMarkOf(node); marked || slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService }) {
			t.Errorf("annotations %v, taints %v", node.Annotations, node.Spec.Taints)
		}
	})
}

func (g *ground) confirmed() *Drainer {
	return g.drainer(func(o *Options) { o.ConfirmNodeIsOff = true })
}

// untouched: the nodes are as if no drain had been.
func (g *ground) untouched(names ...string) {
	g.t.Helper()
	for _, n := range g.nodes(names...) {
		if _, marked := cluster.OutOfServiceMarkOf(n); marked || n.Spec.Unschedulable || cluster.OutOfService(n) {
			g.t.Errorf("%s: annotations %v, taints %v", n.Name, n.Annotations, n.Spec.Taints)
		}
	}
}

// moving are the UIDs of the pods of the tests on a node, sorted.
func (g *ground) moving(node string) []types.UID {
	var uids []types.UID
	for _, p := range g.w.PodsOn(node) {
		if p.Namespace == metav1.NamespaceDefault {
			uids = append(uids, p.UID)
		}
	}
	slices.Sort(uids)
	return uids
}

// tolerateOutOfService has the pods of an app tolerate that taint: they are not
// deleted because of it, and have to be evicted.
func (g *ground) tolerateOutOfService(app string) {
	g.t.Helper()
	_, err := g.admin.AppsV1().Deployments("default").Patch(g.ctx, app, types.MergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"tolerations":[{"key":"node.kubernetes.io/out-of-service","operator":"Exists"}]}}}}`), metav1.PatchOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.until("its pods to tolerate it", func() bool {
		pods := g.pods(app)
		return len(pods) == 1 && isReady(pods[0]) && slices.ContainsFunc(pods[0].Spec.Tolerations, func(t corev1.Toleration) bool { return t.Key == corev1.TaintNodeOutOfService })
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/outage"
)

// allowed is how far off the time of a deletion may be.
const allowed = 10 * time.Second

// slow is how far it may be from the range that was forecast, because of a machine that
// has too much to do.
const slow = 5 * time.Second

// trial is a loss of nodes that is forecast and then happens.
type trial struct {
	name     string
	manifest string // in testdata, of what is on its nodes
	nodes    []string
	away     time.Duration // 0: for ever
	wide     bool          // only the range that is forecast has to be right
	forecast *outage.Forecast
	since    time.Time
}

// TestForecastAndReality loses nodes of a real control plane and holds what
// becomes of each of their pods against the forecast: its fate, and when it was
// deleted. The losses go on at the same time where they do not touch each other:
// each zone has nodes left, except for the one that is lost as a whole.
func TestForecastAndReality(t *testing.T) {
	// A zone of 12 nodes is tainted in 3 s: by default that takes two minutes.
	g := newGround(t, 30, 4)
	t.Cleanup(func() { g.told(200) })
	a, b, c := g.zones["zone-a"], g.zones["zone-b"], g.zones["zone-c"]
	// Zones of 9, 12 and 9 nodes; the control plane is on the first of the first.
	for _, moved := range []string{a[9], c[9]} {
		g.label(moved, corev1.LabelTopologyZone, "zone-b")
		b = append(b, moved)
	}
	a, c = a[:9], c[:9]
	gone := &trial{name: "gone", manifest: "gone", nodes: a[1:2]}
	volumes := &trial{name: "volumes", manifest: "volumes", nodes: a[2:3]}
	bare := &trial{name: "bare", manifest: "bare", nodes: a[3:4]}
	released := &trial{name: "out-of-service", manifest: "out-of-service", nodes: a[4:5]}
	jobs := &trial{name: "jobs", manifest: "jobs", nodes: c[0:1]}
	tolerations := &trial{name: "tolerations", manifest: "tolerations", nodes: c[1:2]}
	early := &trial{name: "back-in-time", manifest: "mix", nodes: c[2:3], away: 22 * time.Second}
	late := &trial{name: "back-late", manifest: "mix", nodes: c[3:4], away: 45 * time.Second}
	zone := &trial{name: "zone", nodes: b}
	trials := []*trial{gone, volumes, bare, released, jobs, tolerations, early, late}
	g.fill(trials, slices.Concat(a[0:1], a[7:], c[4:]))
	g.params = g.parameters()

	// Those that go away in the middle are not to be where pods of the first ones go.
	for _, node := range a[5:7] {
		g.patch(node, map[string]any{"spec": map[string]any{"unschedulable": true}})
	}
	g.lose(trials...)
	// Not at the same moment: the controllers of a twin are as slow as its machine, and
	// what they do late is not the forecast's fault.
	g.wait(early.since.Add(7 * time.Second))
	g.lose(zone)
	trials = append(trials, zone)
	g.wait(early.since.Add(early.away))
	g.recover(early.nodes...)

	// The fifth of nine nodes makes the loss a partial disruption of zone-a, so
	// that the sixth is not tainted any more.
	g.fail(a[5])
	g.wait(late.since.Add(late.away))
	g.recover(late.nodes...)
	g.quiet(slices.Concat(early.nodes, late.nodes))
	for _, x := range trials {
		g.judge(x)
	}
	g.await(a[5]+" is unreachable", func() bool { return g.history.Unreachable(a[5]) })
	partial := &trial{name: "partial", nodes: a[6:7]}
	g.lose(partial)
	g.letGo(released)
	g.judge(partial)
}

// TestLossOfEverything loses all nodes, and nothing happens to any pod: the control
// plane takes itself for the one that is cut off. It finds that out at the end of
// a look at all nodes, and until then the first node of each zone may be tainted: the
// forecast says so, and cannot say which. So those are not judged. The next taint is
// to be had most of a minute later, so that there is no other one.
func TestLossOfEverything(t *testing.T) {
	g := newGround(t, 12, 0.02)
	t.Cleanup(func() { g.told(100) })
	g.fill(nil, nil)
	g.params = g.parameters()
	// With the control plane among what is lost, the forecast would have nothing else to say.
	g.must(g.client.CoreV1().Pods(metav1.NamespaceSystem).DeleteCollection(g.ctx,
		metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}, metav1.ListOptions{LabelSelector: "tier=control-plane"}))
	all := &trial{name: "everything", nodes: g.all(), away: 42 * time.Second}
	g.lose(all)
	tainted := g.tainted(all.nodes, all.since.Add(all.away))
	g.recover(all.nodes...)
	g.quiet(all.nodes)
	for zone, nodes := range g.zones {
		if n := len(slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return !tainted[node] })); n > 1 {
			t.Errorf("%d nodes of %s were tainted, want one at the most", n, zone)
		}
	}
	all.forecast.Nodes = slices.DeleteFunc(all.forecast.Nodes, func(n outage.Node) bool { return tainted[n.Name] })
	all.forecast.Pods = slices.DeleteFunc(all.forecast.Pods, func(p outage.Pod) bool { return tainted[p.Node] })
	g.judge(all)
}

// tainted are those of the nodes that get the taint of a lost node until then, whether they
// keep it or not.
func (g *ground) tainted(nodes []string, until time.Time) map[string]bool {
	g.Helper()
	ctx, cancel := context.WithDeadline(g.ctx, until)
	defer cancel()
	seen := map[string]bool{}
	err := g.history.Await(ctx, "the end", func() bool {
		for _, node := range nodes {
			if !g.history.Tainted(node).IsZero() {
				seen[node] = true
			}
		}
		return false
	})
	if !errors.Is(err, context.DeadlineExceeded) || g.ctx.Err() != nil {
		g.Fatal(err)
	}
	return seen
}

// lose forecasts each loss by itself, from one snapshot, and then has all of them happen.
func (g *ground) lose(trials ...*trial) {
	g.Helper()
	s := g.read()
	var nodes []string
	for _, x := range trials {
		var err error
		x.forecast, err = outage.Predict(s, g.params, outage.Request{Nodes: x.nodes, For: x.away})
		g.must(err)
		nodes = append(nodes, x.nodes...)
	}
	since := time.Now()
	g.fail(nodes...)
	for _, x := range trials {
		x.since = since
	}
}

// judge holds a forecast against what happens, until it is right, but not before
// everything that it says cannot happen had the time to.
func (g *ground) judge(x *trial) {
	g.Helper()
	last := grace + monitor + toleration
	for _, p := range x.forecast.Pods {
		if p.Deleted != nil {
			last = max(last, time.Duration(p.Deleted.Latest*float64(time.Second)))
		}
	}
	g.wait(x.since.Add(last + 3*time.Second))
	// What is forecast may come later than it should, which is an error, but it must come.
	ctx, cancel := context.WithDeadlineCause(g.ctx, x.since.Add(last+hang), errors.New("too much time has passed since the loss"))
	defer cancel()
	right := func() bool { return len(g.history.Judge(x.forecast).Wrong) == 0 }
	err := g.history.Await(ctx, "what was forecast", right)
	v := g.history.Judge(x.forecast)
	for _, wrong := range v.Wrong {
		g.Errorf("%s: %s", x.name, wrong)
	}
	if err != nil {
		g.Errorf("%s: %v", x.name, err)
	}
	if v.Deletion.Beyond > slow {
		g.Errorf("%s: deletions: %s; want at most %s", x.name, &v.Deletion, slow)
	}
	if v.Deletion.Largest > allowed && !x.wide {
		g.Errorf("%s: deletions: %s; want at most %s", x.name, &v.Deletion, allowed)
	}
	if (v.Taint.Largest > allowed || v.Unreachable.Largest > allowed) && !x.wide {
		g.Errorf("%s: unreachable: %s; tainted: %s; want at most %s", x.name, &v.Unreachable, &v.Taint, allowed)
	}
	g.scores = append(g.scores, score{x.name, v})
}

// letGo says that the nodes of a trial are out of service: their pods go, and what was
// stuck is made anew elsewhere, with its volumes.
func (g *ground) letGo(x *trial) {
	g.Helper()
	taint := corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute}
	for _, node := range x.nodes {
		n, err := g.client.CoreV1().Nodes().Get(g.ctx, node, metav1.GetOptions{})
		g.must(err)
		g.patch(node, map[string]any{"spec": map[string]any{"taints": append(n.Spec.Taints, taint)}})
	}
	// Pod garbage collection looks every 20 s.
	g.await("the pods of "+x.name+" that were stuck are Ready elsewhere", func() bool {
		for _, p := range x.forecast.Pods {
			if p.Fate == outage.FateStuck && !g.history.Anew(p.Namespace, p.Name, p.Node) {
				return false
			}
		}
		return true
	})
	g.await("no volume is attached to the nodes of "+x.name, func() bool {
		list, err := g.client.StorageV1().VolumeAttachments().List(g.ctx, metav1.ListOptions{})
		g.must(err)
		for _, va := range list.Items {
			if slices.Contains(x.nodes, va.Spec.NodeName) {
				return false
			}
		}
		return true
	})
}

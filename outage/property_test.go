// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
	"refit.dev/refit/outage"
)

// drawTown draws the lines of a cluster, the names of its nodes, and some of
// those to lose.
func drawTown(t *rapid.T) (lines, nodes, lost []string) {
	count := rapid.IntRange(1, 8).Draw(t, "nodes")
	for i := range count {
		name := fmt.Sprintf("n%d", i)
		nodes = append(nodes, name)
		state := rapid.SampledFrom([]string{"", "", "", "", "ready=Unknown", "ready=Unknown taint=node.kubernetes.io/unreachable:40",
			"ready=False taint=node.kubernetes.io/not-ready:70", "excluded", "cordoned", "taint=example.com/x:15", "taint=example.com/x:?",
			"ready=Unknown taint=node.kubernetes.io/unreachable:40,node.kubernetes.io/out-of-service:?", "ready=False taint=node.kubernetes.io/not-ready:70,example.com/x:90"}).Draw(t, "state")
		zone := rapid.SampledFrom([]string{"", "zone=a", "zone=b"}).Draw(t, "zone")
		lines = append(lines, fmt.Sprintf("node %s cpu=4 %s %s", name, zone, state))
	}
	if rapid.IntRange(0, 3).Draw(t, "plane") == 0 {
		lines = append(lines, "plane "+rapid.SampledFrom(nodes).Draw(t, "on"))
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "workloads") {
		kind := rapid.SampledFrom([]string{"deployment", "statefulset", "daemonset", "job", "pod", "static", "orphan", "custom"}).Draw(t, "kind")
		on := rapid.SliceOfN(rapid.SampledFrom(nodes), 1, 4).Draw(t, "on")
		options := rapid.SliceOfN(rapid.SampledFrom([]string{
			"cpu=1", "min=1", "tolerate=20", "tolerate=0", "tolerate=forever", "tolerate=none", "tolerate=keyless:60", "tolerate=two:10/90",
			"claim=RWO", "claim=RWX", "local", "finalizer=example.com/x", "grace=0", "phase=Succeeded", "deleted", "unready", "waits",
			"limit=1", "limit=0", "failed=1", "after-end", "ignore", "fail-job", "fail-index", "per-index=1", "per-index=0", "max-indexes=0",
			"restart=Never", "restart=OnFailure", "tolerate=two:20/forever", "tolerate=two:200/none",
			"replicas=0", "replicas=1", "first=1", "apart=w0", "deleting", "managed-by=example.com/x", "also=example.com/x:50", "also=example.com/x:forever", "bound=5",
		}), 0, 4).Draw(t, "options")
		lines = append(lines, fmt.Sprintf("%s w%d on=%s %s", kind, i, strings.Join(on, ","), strings.Join(options, " ")))
	}
	if rapid.IntRange(0, 5).Draw(t, "old") == 0 {
		lines = append(lines, "server v1.26.0")
	}
	lost = rapid.SliceOfNDistinct(rapid.SampledFrom(nodes), 1, count, rapid.ID[string]).Draw(t, "lost")
	return lines, nodes, lost
}

// drawParameters draws which controllers run, and for an old server whether it has a taint manager.
func drawParameters(t *rapid.T, s *cluster.Snapshot) outage.Parameters {
	p, _ := outage.ReadParameters(s)
	set := func(name, value string) {
		if err := p.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if off := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"node-lifecycle-controller", "taint-eviction-controller", "pod-garbage-collector-controller", "persistentvolume-attach-detach-controller",
		"replicaset-controller", "statefulset-controller", "daemonset-controller", "job-controller",
	}), 0, 2, rapid.ID[string]).Draw(t, "off"); rapid.Bool().Draw(t, "controllers") {
		set("controllers", strings.Join(append([]string{"*"}, off...), ",-"))
	}
	if s.Server == "v1.26.0" && rapid.Bool().Draw(t, "no taint manager") {
		set("pod-eviction-timeout", "1m")
	}
	return p
}

// drawRequest draws for how long the nodes are away, when they were heard of, and quotas.
func drawRequest(t *rapid.T, lost []string) outage.Request {
	r := outage.Request{Nodes: lost, For: time.Duration(rapid.IntRange(0, 900).Draw(t, "for")) * time.Second, Heard: map[string]outage.Renewal{}}
	for _, name := range lost {
		if ago := rapid.SampledFrom([]int{-1, 0, 3, 25, 300}).Draw(t, "heard"); ago >= 0 {
			then := noon.Add(-time.Duration(ago) * time.Second)
			r.Heard[name] = outage.Renewal{At: then, Earliest: then.Add(-time.Second), Latest: then}
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "quotas") {
		name := corev1.ResourceName(rapid.SampledFrom([]string{"pods", "requests.cpu", "limits.memory"}).Draw(t, "of"))
		used := int64(rapid.IntRange(0, 4).Draw(t, "used"))
		r.Quotas = append(r.Quotas, corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "q"},
			Status: corev1.ResourceQuotaStatus{
				Hard: corev1.ResourceList{name: *resource.NewQuantity(3, resource.DecimalSI)}, Used: corev1.ResourceList{name: *resource.NewQuantity(used, resource.DecimalSI)},
			},
		})
	}
	return r
}

func predict(t *rapid.T, s *cluster.Snapshot, p outage.Parameters, r outage.Request) *outage.Forecast {
	f, err := outage.Predict(s, p, r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func document(t *rapid.T, f *outage.Forecast) string {
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestAnyLoss: each pod of a lost node has one fate and no other pod has one; a
// pod is deleted if its fate says so, and has a replacement only if it is
// replaced; the order of what comes in does not matter; and a single node has
// the fates that Rank counts.
func TestAnyLoss(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines, nodes, lost := drawTown(rt)
		s := build(t, strings.Join(lines, "\n"))
		parameters := drawParameters(rt, s)
		r := drawRequest(rt, lost)
		f := predict(rt, s, parameters, r)

		bound := map[string]bool{}
		for _, name := range lost {
			for _, p := range s.Node(name).Pods {
				bound[p.Namespace+"/"+p.Name] = true
			}
		}
		if len(bound) != len(f.Pods) {
			rt.Fatalf("%d pods have a fate, %d are on the nodes", len(f.Pods), len(bound))
		}
		for i := range f.Pods {
			p := &f.Pods[i]
			if !bound[p.Namespace+"/"+p.Name] {
				rt.Fatalf("%s has a second fate, or is not on a lost node", p.Name)
			}
			delete(bound, p.Namespace+"/"+p.Name)
			kept := p.Fate == outage.FateRestarts || p.Fate == outage.FateStays
			if p.Fate != outage.FateFinished && kept != (p.Deleted == nil) {
				rt.Fatalf("%s: %s, deleted %v", p.Name, p.Fate, p.Deleted)
			}
			if p.Fate == outage.FateRestarts && r.For == 0 || p.IfOff != "" && r.For == 0 {
				rt.Fatalf("%s: %s, %s if off, although its node is never back", p.Name, p.Fate, p.IfOff)
			}
			if p.Replacement != nil && p.Fate != outage.FateReplaced || p.Reason == "" {
				rt.Fatalf("%s: %s, replacement %v: %q", p.Name, p.Fate, p.Replacement, p.Reason)
			}
			if m := p.Deleted; m != nil && (m.At < m.Earliest || m.At > m.Latest || m.At < 0) {
				rt.Fatalf("%s: deleted at %v", p.Name, *m)
			}
		}

		other := build(t, strings.Join(rapid.Permutation(lines).Draw(rt, "shuffled"), "\n"))
		r.Nodes = rapid.Permutation(lost).Draw(rt, "other order")
		if a, b := document(rt, f), document(rt, predict(rt, other, parameters, r)); a != b {
			rt.Fatalf("in another order it is\n%s\nnot\n%s", b, a)
		}

		hurts, err := outage.Rank(s, parameters, r.For)
		if err != nil || len(hurts) != len(nodes) {
			rt.Fatal(err, len(hurts))
		}
		for _, h := range hurts {
			alone := predict(rt, s, parameters, outage.Request{Nodes: []string{h.Node}, For: r.For})
			if a, b := fmt.Sprint(h.Fates), fmt.Sprint(worst(alone)); a != b {
				rt.Fatalf("%s by itself: %s, ranked with %s", h.Node, b, a)
			}
			unplaced := 0
			for i := range alone.Pods {
				if x := alone.Pods[i].Replacement; x != nil && !x.Fits {
					unplaced++
				}
			}
			if unplaced != h.Unplaced {
				rt.Fatalf("%s by itself leaves %d unplaced, ranked with %d", h.Node, unplaced, h.Unplaced)
			}
		}
	})
}

// worst counts fates as Rank does.
func worst(f *outage.Forecast) map[outage.Fate]int {
	counts := map[outage.Fate]int{}
	for i := range f.Pods {
		counts[f.Pods[i].Worst()]++
	}
	return counts
}

// TestLongerIsWorse: the longer the nodes are away the more pods are deleted, those
// that are deleted anyway at the same moments, but for those that wait for each other.
func TestLongerIsWorse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines, _, lost := drawTown(rt)
		s := build(t, strings.Join(lines, "\n"))
		p := drawParameters(rt, s)
		if err := p.Set("kube-api-qps", "-1"); err != nil {
			rt.Fatal(err)
		}
		var before *outage.Forecast
		last := time.Duration(0)
		for _, more := range []int{1, 30, 20, 60, 300, 600, 0} {
			last += time.Duration(more) * time.Second
			r := outage.Request{Nodes: lost, For: last}
			if more == 0 {
				r.For = 0 // for ever
			}
			f, err := outage.Predict(s, p, r)
			if err != nil {
				rt.Fatal(err)
			}
			for i := range f.Pods {
				if before == nil || before.Pods[i].Deleted == nil {
					continue
				}
				if now := f.Pods[i].Deleted; now == nil || now.At > before.Pods[i].Deleted.At+1e-6 {
					rt.Fatalf("%s is deleted at %v if they are back sooner, now %v", f.Pods[i].Name, *before.Pods[i].Deleted, now)
				}
			}
			before = f
		}
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// workloadsOn returns the workloads of which pods are on the node, as they are
// now: those that have to be back after the node was drained. Left out is what
// does not come back, or never left: bare pods, DaemonSets, and pods that are
// not restarted for ever (Jobs and the like may be over at any moment).
func workloadsOn(node *cluster.Node) []Workload {
	found := map[types.UID]Workload{}
	for _, pod := range node.Pods {
		top := topOf(pod)
		if top == nil || budget.Finished(pod.Pod) || pod.Spec.RestartPolicy != corev1.RestartPolicyAlways {
			continue
		}
		found[top.UID] = Workload{
			Group: top.Group, Kind: top.Kind, Namespace: top.Namespace, Name: top.Name, UID: top.UID,
			Healthy: healthy(top), Read: top.Found,
		}
	}
	list := make([]Workload, 0, len(found))
	for _, w := range found {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UID, b.UID))
	})
	return list
}

// topOf is the topmost controller of a pod; nil if there is none or it is a DaemonSet.
func topOf(pod *cluster.Pod) *cluster.Workload {
	if len(pod.Controllers) == 0 {
		return nil
	}
	top := pod.Controllers[len(pod.Controllers)-1]
	if top.Kind == "DaemonSet" && top.Group == "apps" {
		return nil
	}
	return top
}

// healthy counts the pods of a workload that do its work. Pods are counted, and
// not the workload's status, which follows them with a delay: right after an
// eviction it still says that all is well.
func healthy(w *cluster.Workload) int32 {
	var n int32
	for _, pod := range w.Pods {
		if budget.Healthy(pod.Pod) {
			n++
		}
	}
	return n
}

// tally counts, for each workload and each node, the pods that the run has evicted.
//
// Nodes are drained side by side, so a workload may never be whole again until
// the last of them is done. What a node has to wait for is that the pods that
// it, and those before it, took away were replaced: then as many are healthy
// as before its drain, less those that were evicted since its drain ended.
//
// What a node finds before its drain may lack pods that another node's drain took
// away a moment ago. So the node asks for as many as that one does, as long as it
// is under way: otherwise neither would wait for the pods that both have counted
// as missing.
type tally struct {
	mu      sync.Mutex
	of      map[string]types.UID // UID of a pod -> UID of its workload
	evicted map[types.UID]int32
	from    map[string]int       // by node: how many pods this process has evicted beyond what the journal tells
	sought  map[string]int       // by node: how many its drain set out to evict, with those
	asked   map[types.UID]demand // by nodes under way
	changed func(types.UID)      // called, if set, when a count has changed
}

// demand is how many healthy pods of a workload nodes wait for, and how many nodes.
type demand struct {
	healthy int32
	nodes   int
}

func newTally() *tally {
	return &tally{of: map[string]types.UID{}, evicted: map[types.UID]int32{}, from: map[string]int{}, sought: map[string]int{}, asked: map[types.UID]demand{}}
}

// begin notes what a node is going to wait for, and raises it to what the nodes
// under way wait for.
func (t *tally) begin(workloads []Workload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range workloads {
		w := &workloads[i]
		d := t.asked[w.UID]
		w.Healthy = max(w.Healthy, d.healthy)
		t.asked[w.UID] = demand{healthy: w.Healthy, nodes: d.nodes + 1}
	}
}

// end notes that a node does not wait any more.
func (t *tally) end(workloads []Workload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range workloads {
		d := t.asked[w.UID]
		if d.nodes--; d.nodes > 0 {
			t.asked[w.UID] = d
		} else {
			delete(t.asked, w.UID)
		}
	}
}

// know notes whose pods are on a node that is about to be drained.
func (t *tally) know(node *cluster.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pod := range node.Pods {
		if top := topOf(pod); top != nil {
			t.of[string(pod.UID)] = top.UID
		}
	}
}

// Emit listens to what the drains tell.
func (t *tally) Emit(e event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Type == event.NodePhase && e.Phase == event.PhaseDraining {
		t.sought[e.Node] = t.from[e.Node] + e.Pods
	}
	if e.Type != event.PodEvicted || e.Pod == nil {
		return
	}
	t.from[e.Node]++
	if workload, known := t.of[e.Pod.UID]; known {
		delete(t.of, e.Pod.UID)
		t.evicted[workload]++
		if t.changed != nil {
			t.changed(workload)
		}
	}
}

// recorded says that the journal tells of some of the evictions from a node.
func (t *tally) recorded(node string, evicted int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from[node] -= evicted
	t.sought[node] = t.from[node]
}

// evictedFrom returns how many pods this process has evicted from a node beyond
// what the journal tells, and how many it has set out to evict, with those.
func (t *tally) evictedFrom(node string) (evicted, sought int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.from[node], t.sought[node]
}

// onChange has f called with each workload of which another pod is counted. f does not call back.
func (t *tally) onChange(f func(types.UID)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = f
}

// mark returns how many pods of each workload were evicted so far.
func (t *tally) mark(workloads []Workload) map[types.UID]int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make(map[types.UID]int32, len(workloads))
	for _, w := range workloads {
		counts[w.UID] = t.evicted[w.UID]
	}
	return counts
}

// missing returns those of workloads that are not back, in words. lookup returns
// a workload as it is now; since is the mark at the end of the drain, now the one
// of the moment.
func missing(lookup func(types.UID) *cluster.Workload, workloads []Workload, since, now map[types.UID]int32) []string {
	var list []string
	for _, before := range workloads {
		want, have := before.Healthy, int32(0)
		w := lookup(before.UID)
		switch {
		case w == nil && before.Read:
			continue // it was deleted
		case w != nil:
			have = healthy(w)
			if w.Found && w.Desired >= 0 {
				want = min(want, w.Desired) // it was scaled down
			}
		}
		others := now[before.UID] - since[before.UID]
		if have+others < want {
			list = append(list, fmt.Sprintf("%s has %d of %d pods ready", before, have, want))
		}
	}
	return list
}

// few lists what a message has room for.
func few(list []string) string { return phrase.Few(list, 3) }

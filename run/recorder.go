// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// recorder writes into a run's history what is told of the run, and what only
// the watches show of it: the health of the budgets that its pods have, and
// where the replacements of its pods went. It looks at what changed, never at
// the whole cluster but once, so that it costs little in a large one.
type recorder struct {
	watched watched
	sink    event.Sink
	clock   clock.PassiveClock
	slots   int

	// workloads are those with pods on the run's nodes, of pods the ones on them.
	workloads map[types.UID]string
	pods      map[types.UID]string
	// budgets are those of the run's pods, as they were last written down.
	budgets map[types.NamespacedName]event.Budget
	// pending are pods that were made since and wait for a node, with their
	// workload, or "" as long as that is not known.
	pending map[types.UID]string
}

// watched is what a recorder sees of a cluster; *cluster.Watcher has it.
type watched interface {
	Snapshot() *cluster.Snapshot
	Pod(namespace, name string) *corev1.Pod
	Budget(namespace, name string) *policyv1.PodDisruptionBudget
	Controllers(pod *corev1.Pod) []*cluster.Workload
}

// recording begins to write the run's history. What is told to sink goes to
// o.Sink as well, until stop.
func (o *Operator) recording(ctx context.Context, w *cluster.Watcher, journal *Journal, spec *Spec) (sink event.Sink, stop func()) {
	path := filepath.Dir(journal.path)
	h := openHistory(path, func(err error) {
		o.Sink.Emit(event.Event{
			Time: o.Clock.Now(), Type: event.Warning, Run: spec.Run,
			Message: fmt.Sprintf("the history of the run cannot be written: %v; the run goes on without, and its report will lack what follows", err),
			Hint:    "make room in " + path,
		})
	})
	changes := w.Subscribe()
	r := newRecorder(w, spec, h, o.Clock)
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { defer close(ended); r.follow(following, changes) }()
	return event.Tee(o.Sink, r), func() {
		end()
		<-ended
		changes.Close()
		h.Close()
	}
}

// newRecorder looks at what the run is about to move.
func newRecorder(w watched, spec *Spec, sink event.Sink, clk clock.PassiveClock) *recorder {
	r := &recorder{
		watched: w, sink: sink, clock: clk,
		workloads: map[types.UID]string{}, pods: map[types.UID]string{},
		budgets: map[types.NamespacedName]event.Budget{}, pending: map[types.UID]string{},
	}
	snapshot := w.Snapshot()
	r.slots = spec.MaxUnavailable.Of(len(snapshot.Nodes))
	for _, target := range spec.Nodes {
		node := snapshot.Node(target.Name)
		if node == nil || node.UID != target.UID {
			continue
		}
		for _, pod := range node.Pods {
			top := topOf(pod)
			if top == nil || budget.Finished(pod.Pod) {
				continue
			}
			if r.workloads[top.UID] == "" {
				r.workloads[top.UID] = top.Object().String()
			}
			r.pods[pod.UID] = r.workloads[top.UID]
			for _, b := range pod.Budgets {
				r.budgets[types.NamespacedName{Namespace: b.Namespace, Name: b.Name}] = event.Budget{}
			}
		}
	}
	return r
}

// Emit takes what is told of the run, and adds what a report needs beyond it. It
// reads nothing that follow changes.
func (r *recorder) Emit(e event.Event) {
	switch {
	case e.Type == event.RunStarted:
		e.Slots = r.slots
	case e.Type == event.PodEvicted && e.Pod != nil:
		e.Workload = r.workloadOf(e.Pod)
	}
	r.sink.Emit(e)
}

// workloadOf names what controls a pod; "" if that cannot be told any more.
func (r *recorder) workloadOf(p *event.Pod) string {
	if known := r.pods[types.UID(p.UID)]; known != "" {
		return known
	}
	pod := r.watched.Pod(p.Namespace, p.Name)
	if pod == nil || string(pod.UID) != p.UID {
		return ""
	}
	chain := r.watched.Controllers(pod)
	if len(chain) == 0 {
		return cluster.Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}.String()
	}
	return chain[len(chain)-1].Object().String()
}

// follow writes down what changes until ctx ends. changes were subscribed to
// before the recorder was made.
func (r *recorder) follow(ctx context.Context, changes Changes) {
	for _, key := range slices.SortedFunc(maps.Keys(r.budgets), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}) {
		r.budget(key)
	}
	for {
		select {
		case <-changes.Ready():
			r.note(changes.Take())
		case <-ctx.Done():
			r.note(changes.Take()) // how it all ended
			return
		}
	}
}

func (r *recorder) note(changes []cluster.Change) {
	seen := map[types.NamespacedName]bool{}
	for _, c := range changes {
		key := types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
		switch c.Kind {
		case cluster.KindBudget:
			if _, ours := r.budgets[key]; ours && !seen[key] {
				seen[key] = true
				r.budget(key)
			}
		case cluster.KindPod:
			r.pod(c)
		}
	}
}

// budget writes down the numbers of a budget if they are others than before. A
// budget that was deleted has none.
func (r *recorder) budget(key types.NamespacedName) {
	now := event.Budget{Namespace: key.Namespace, Name: key.Name}
	if b := r.watched.Budget(key.Namespace, key.Name); b != nil {
		now.DisruptionsAllowed, now.CurrentHealthy = b.Status.DisruptionsAllowed, b.Status.CurrentHealthy
		now.DesiredHealthy, now.ExpectedPods = b.Status.DesiredHealthy, b.Status.ExpectedPods
	}
	if last := r.budgets[key]; last.Name != "" && sameNumbers(last, now) {
		return
	}
	r.budgets[key] = now
	r.sink.Emit(event.Event{Time: r.clock.Now(), Type: event.BudgetChanged, Budget: &now})
}

func sameNumbers(a, b event.Budget) bool {
	return a.DisruptionsAllowed == b.DisruptionsAllowed && a.CurrentHealthy == b.CurrentHealthy &&
		a.DesiredHealthy == b.DesiredHealthy && a.ExpectedPods == b.ExpectedPods
}

// pod writes down where a pod was bound that was made since the run began.
func (r *recorder) pod(c cluster.Change) {
	if c.Verb == cluster.Deleted {
		delete(r.pending, c.UID)
		return
	}
	workload, waits := r.pending[c.UID]
	if !waits && c.Verb != cluster.Added {
		return
	}
	pod := r.watched.Pod(c.Namespace, c.Name)
	if pod == nil || pod.UID != c.UID {
		return // it is gone already; its deletion follows
	}
	if workload == "" {
		var known bool
		if workload, known = r.ours(pod); workload == "" && known {
			delete(r.pending, c.UID)
			return
		}
	}
	if pod.Spec.NodeName == "" {
		r.pending[c.UID] = workload
		return
	}
	delete(r.pending, c.UID)
	if workload == "" {
		return // whatever controls it was never read
	}
	r.sink.Emit(event.Event{
		Time: r.clock.Now(), Type: event.PodPlaced, Node: pod.Spec.NodeName, Workload: workload,
		Pod: &event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)},
	})
}

// ours names the workload of the run that a pod belongs to; "" if there is none.
// known is false if that may be for want of news: the watch may bring a pod before
// the ReplicaSet that made it, as in a restart.
func (r *recorder) ours(pod *corev1.Pod) (name string, known bool) {
	chain := r.watched.Controllers(pod)
	if len(chain) == 0 {
		return "", true
	}
	top := chain[len(chain)-1]
	return r.workloads[top.UID], top.Found
}

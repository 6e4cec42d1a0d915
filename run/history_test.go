// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/plan"
)

// readHistory returns the events of a history, in short.
func readHistory(t *testing.T, s *Store, run string) (events []string, skipped int) {
	t.Helper()
	skipped, err := s.History(run, func(e event.Event) {
		text := string(e.Type)
		if e.Node != "" {
			text += " " + e.Node
		}
		events = append(events, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return events, skipped
}

// TestEvictionsOfUnfinishedDrains: the journal tells how many pods a drain evicted once
// the drain is done. Those of one that was interrupted, or killed, count all the same,
// and those of one that is done count once.
func TestEvictionsOfUnfinishedDrains(t *testing.T) {
	s := testStore(t)
	path, records := writeJournal(t, s)
	id, name := records[0].Spec.Run, records[0].Spec.Nodes[0].Name
	before, err := s.Read(id)
	if err != nil {
		t.Fatal(err)
	}
	journaled := before.Nodes[name].Evicted
	h := openHistory(filepath.Dir(path), func(err error) { t.Errorf("write the history: %v", err) })
	for told := 1; told <= journaled+2; told++ {
		h.Emit(event.Event{Type: event.PodEvicted, Node: name})
		status, err := s.Read(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := status.Nodes[name].Evicted, max(journaled, told); got != want {
			t.Errorf("%d evictions in the journal, %d in the history: %d", journaled, told, got)
		}
	}
	h.Close()
	j, status, _, err := s.open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := status.Nodes[name].Evicted; got != journaled+2 {
		t.Errorf("a run that is taken up again knows of %d evictions, want %d", got, journaled+2)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestHistory(t *testing.T) {
	s := testStore(t)
	path, records := writeJournal(t, s)
	dir, id := filepath.Dir(path), records[0].Spec.Run
	if events, skipped := readHistory(t, s, id); events != nil || skipped != 0 {
		t.Errorf("a run without a history has %v, %d skipped", events, skipped)
	}
	failed := func(err error) { t.Errorf("write the history: %v", err) }
	h := openHistory(dir, failed)
	h.Emit(event.Event{Type: event.NodeCordoned, Node: "a"})
	h.Emit(event.Event{Type: event.CommandOutput, Node: "a", Message: "password=hunter2"})
	h.Emit(event.Event{Type: event.PodSkipped, Node: "a"})
	h.Close()
	h.Emit(event.Event{Type: event.NodeFailed, Node: "late"})

	file := filepath.Join(dir, historyName)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want a file for its user alone", info.Mode(), err)
	}
	// A process is killed in the middle of a line, and the next one goes on.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"time":"2026-11-22T10:00:00Z","type":"node-unc`)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if events, skipped := readHistory(t, s, id); !slices.Equal(events, []string{"node-cordoned a"}) || skipped != 1 {
		t.Errorf("torn: %v, %d skipped", events, skipped)
	}
	h = openHistory(dir, failed)
	h.Emit(event.Event{Type: event.NodeUncordoned, Node: "a"})
	h.Close()
	if events, skipped := readHistory(t, s, id); !slices.Equal(events, []string{"node-cordoned a", "node-uncordoned a"}) || skipped != 1 {
		t.Errorf("carried on: %v, %d skipped", events, skipped)
	}
	if _, err := s.History("20000101-000000-0000", func(event.Event) {}); err == nil {
		t.Error("there is a history of an unknown run")
	}
	if p, err := s.Plan(id); p != nil || err != nil {
		t.Errorf("a run that was begun without a plan has %v, %v", p, err)
	}
	o := &Operator{Clock: clocktesting.NewFakeClock(testTime), Sink: event.SinkFunc(func(e event.Event) { t.Errorf("%+v", e) })}
	o.keepPlan(&Journal{path: path}, &plan.Plan{PredictedSeconds: 42})
	if p, err := s.Plan(id); err != nil || p.PredictedSeconds != 42 {
		t.Errorf("the plan is %v, %v", p, err)
	}
	if got, err := s.Records(id); err != nil || len(got) != len(records) {
		t.Errorf("%d records, %v: want %d", len(got), err, len(records))
	}
}

// TestHistoryThatCannotBeWritten: that is one warning, and stops nothing.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	var told []error
	h := openHistory(filepath.Join(t.TempDir(), "missing"), func(err error) { told = append(told, err) })
	h.Emit(event.Event{Type: event.NodeCordoned})
	h.Close()
	if len(told) != 1 {
		t.Errorf("told %v", told)
	}

	told = nil
	h = openHistory(t.TempDir(), func(err error) { told = append(told, err) })
	if err := h.file.Close(); err != nil { // as if the disk had gone away
		t.Fatal(err)
	}
	h.Emit(event.Event{Type: event.NodeCordoned})
	h.Emit(event.Event{Type: event.NodeCordoned})
	if len(told) != 1 {
		t.Errorf("told %v", told)
	}
}

// sight is a watched cluster whose state the test sets.
type sight struct {
	mu       sync.Mutex
	snapshot *cluster.Snapshot
	pods     map[string]*corev1.Pod
	budgets  map[string]*policyv1.PodDisruptionBudget
	above    map[types.UID]*cluster.Workload // what controls a controller
}

func (b *sight) Snapshot() *cluster.Snapshot { return b.snapshot }

func (b *sight) Pod(namespace, name string) *corev1.Pod {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pods[namespace+"/"+name]
}

func (b *sight) Budget(namespace, name string) *policyv1.PodDisruptionBudget {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.budgets[namespace+"/"+name]
}

func (b *sight) Controllers(pod *corev1.Pod) []*cluster.Workload {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return nil
	}
	chain := []*cluster.Workload{{Kind: ref.Kind, Namespace: pod.Namespace, Name: ref.Name, UID: ref.UID}}
	if top := b.above[ref.UID]; top != nil {
		chain = append(chain, top)
	}
	return chain
}

func historyPod(name, uid, owner, node string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID(uid), Labels: map[string]string{"app": owner},
	}, Spec: corev1.PodSpec{NodeName: node}}
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, UID: types.UID("rs-" + owner), Controller: ptr.To(true),
		}}
	}
	return pod
}

func historyBudget(name string, healthy int32) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
		Status:     policyv1.PodDisruptionBudgetStatus{CurrentHealthy: healthy, DesiredHealthy: 2, ExpectedPods: 3, DisruptionsAllowed: healthy - 2},
	}
}

// queue is a queue of changes that the test fills.
type queue chan []cluster.Change

func (q queue) Ready() <-chan struct{} {
	ready := make(chan struct{}, 1)
	if len(q) > 0 {
		ready <- struct{}{}
	}
	return ready
}

func (q queue) Take() (all []cluster.Change) {
	for len(q) > 0 {
		all = append(all, <-q...)
	}
	return all
}

func (q queue) Close() {}

func TestRecorder(t *testing.T) {
	cart, web := historyPod("cart-1", "1", "cart", "a"), historyPod("web-1", "2", "web", "elsewhere")
	rs := func(name string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("rs-" + name)}}
	}
	bare := historyPod("bare", "9", "", "a")
	nodeA := readyNode("a")
	nodeA.UID = testSpec("a").Nodes[0].UID
	snapshot, err := cluster.FromObjects(testTime, nodeA, readyNode("elsewhere"), cart, web, bare, rs("cart"), rs("web"),
		historyBudget("cart", 3), historyBudget("web", 3))
	if err != nil {
		t.Fatal(err)
	}
	b := &sight{
		snapshot: snapshot, pods: map[string]*corev1.Pod{"shop/bare": bare},
		budgets: map[string]*policyv1.PodDisruptionBudget{"shop/cart": historyBudget("cart", 3), "shop/web": historyBudget("web", 3)},
	}
	var got []event.Event
	r := newRecorder(b, testSpec("a"), event.SinkFunc(func(e event.Event) { got = append(got, e) }), clocktesting.NewFakeClock(testTime))
	want := func(what string, texts ...string) {
		t.Helper()
		var have []string
		for _, e := range got {
			switch {
			case e.Budget != nil:
				have = append(have, fmt.Sprintf("%s %s %d/%d", e.Type, e.Budget.Name, e.Budget.CurrentHealthy, e.Budget.ExpectedPods))
			case e.Pod != nil:
				have = append(have, fmt.Sprintf("%s %s on %s of %s", e.Type, e.Pod.Name, e.Node, e.Workload))
			default:
				have = append(have, fmt.Sprintf("%s %d", e.Type, e.Slots))
			}
		}
		if !slices.Equal(have, texts) {
			t.Errorf("%s:\n%q, want\n%q", what, have, texts)
		}
		got = nil
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	changes := make(queue, 9)
	r.follow(ended, changes)
	want("at the beginning, the budgets of the run's pods", "budget-changed cart 3/3")

	r.Emit(event.Event{Type: event.RunStarted})
	r.Emit(event.Event{Type: event.PodEvicted, Node: "a", Pod: &event.Pod{Namespace: "shop", Name: "cart-1", UID: "1"}})
	r.Emit(event.Event{Type: event.PodEvicted, Node: "a", Pod: &event.Pod{Namespace: "shop", Name: "bare", UID: "9"}})
	r.Emit(event.Event{Type: event.PodEvicted, Node: "a", Pod: &event.Pod{Namespace: "shop", Name: "bare", UID: "another"}})
	want("what is told", "run-started 2", "pod-evicted cart-1 on a of ReplicaSet shop/cart", "pod-evicted bare on a of Pod shop/bare", "pod-evicted bare on a of ")

	// The pod's replacement is made, then bound; pods that are none of the run's are let be.
	b.pods["shop/cart-2"] = historyPod("cart-2", "3", "cart", "")
	b.pods["shop/web-2"] = historyPod("web-2", "4", "web", "a")
	b.budgets["shop/cart"], b.budgets["shop/web"] = historyBudget("cart", 2), historyBudget("web", 2)
	r.note([]cluster.Change{
		{Kind: cluster.KindPod, Namespace: "shop", Name: "cart-2", UID: "3", Verb: cluster.Added},
		{Kind: cluster.KindPod, Namespace: "shop", Name: "web-2", UID: "4", Verb: cluster.Added},
		{Kind: cluster.KindPod, Namespace: "shop", Name: "gone", UID: "5", Verb: cluster.Added},
		{Kind: cluster.KindBudget, Namespace: "shop", Name: "cart", Verb: cluster.Updated},
		{Kind: cluster.KindBudget, Namespace: "shop", Name: "cart", Verb: cluster.Updated},
		{Kind: cluster.KindBudget, Namespace: "shop", Name: "web", Verb: cluster.Updated},
	})
	want("made", "budget-changed cart 2/3")
	b.pods["shop/cart-2"] = historyPod("cart-2", "3", "cart", "b")
	bound := cluster.Change{Kind: cluster.KindPod, Namespace: "shop", Name: "cart-2", UID: "3", Verb: cluster.Updated}
	r.note([]cluster.Change{bound, bound, {Kind: cluster.KindBudget, Namespace: "shop", Name: "cart", Verb: cluster.Updated}})
	want("bound", "pod-placed cart-2 on b of ReplicaSet shop/cart")

	// The pod is seen before the ReplicaSet that made it.
	b.pods["shop/cart-3"] = historyPod("cart-3", "6", "cart-new", "")
	r.note([]cluster.Change{{Kind: cluster.KindPod, Namespace: "shop", Name: "cart-3", UID: "6", Verb: cluster.Added}})
	want("not known yet")
	b.above = map[types.UID]*cluster.Workload{"rs-cart-new": {UID: "rs-cart", Found: true}}
	b.pods["shop/cart-3"] = historyPod("cart-3", "6", "cart-new", "b")
	r.note([]cluster.Change{{Kind: cluster.KindPod, Namespace: "shop", Name: "cart-3", UID: "6", Verb: cluster.Updated}})
	want("known when it is bound", "pod-placed cart-3 on b of ReplicaSet shop/cart")

	// What happened before the end is written down, and a budget that is deleted has no numbers.
	delete(b.budgets, "shop/cart")
	changes <- []cluster.Change{
		{Kind: cluster.KindPod, Namespace: "shop", Name: "cart-2", UID: "3", Verb: cluster.Deleted},
		{Kind: cluster.KindBudget, Namespace: "shop", Name: "cart", Verb: cluster.Deleted},
	}
	r.note(changes.Take())
	want("deleted", "budget-changed cart 0/0")
	if len(r.pending) > 0 {
		t.Errorf("pods that never come are waited for: %v", r.pending)
	}
}

// TestRecorderFollows: changes are written down as they come, until the end.
func TestRecorderFollows(t *testing.T) {
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := newFakeCluster(t, "a")
	c.workload("cart", "a")
	b := &sight{snapshot: c.Snapshot()}
	r := newRecorder(b, testSpec("a"), event.Discard, clocktesting.NewFakeClock(testTime))
	ctx, end := context.WithCancel(deadline)
	ended := make(chan struct{})
	changes := c.Subscribe()
	defer changes.Close()
	go func() { defer close(ended); r.follow(ctx, changes) }()
	c.change(func() {})
	end()
	select {
	case <-ended:
	case <-deadline.Done():
		t.Fatal("it goes on after its end")
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// TestPodsThatLeaveAreEvicted: a pod is often seen to terminate before the answer to
// its eviction is there. It counts as evicted all the same: otherwise there would seem
// to be moves to spare. Two pods of node a were moved to c, and will move again; node
// d would make it four of 8 pods, and no more than half as many moves again are wanted.
func TestPodsThatLeaveAreEvicted(t *testing.T) {
	spec := testSpec()
	spec.MaxUnavailable, _ = ParseShare("2")
	spec.MaxMoves, spec.Pods = 1.5, 8
	replicas := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web"},
		Spec:       appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(8))},
	}
	objs := []runtime.Object{replicas}
	for _, n := range []struct {
		name          string
		pods, leaving int
	}{{"a", 0, 0}, {"b", 0, 2}, {"c", 4, 0}, {"d", 2, 0}} {
		node := readyNode(n.name)
		node.Status.Allocatable = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("8")}
		if n.name == "a" {
			node.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("2")
		}
		node.Spec.Unschedulable = n.name == "b"
		objs = append(objs, node)
		spec.Nodes = append(spec.Nodes, Target{Name: n.name, UID: node.UID})
		for i := range n.pods + n.leaving {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "shop", Name: fmt.Sprintf("web-%s%d", n.name, i), UID: testUID(fmt.Sprintf("%s%d", n.name, i)),
					OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(replicas, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
				},
				Spec:   corev1.PodSpec{NodeName: n.name},
				Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
			}
			if i >= n.pods {
				pod.DeletionTimestamp = &metav1.Time{Time: testTime}
			}
			objs = append(objs, pod)
		}
	}
	snapshot, err := cluster.FromObjects(testTime, objs...)
	if err != nil {
		t.Fatal(err)
	}
	tally := newTally()
	tally.Emit(event.Event{Type: event.NodePhase, Phase: event.PhaseDraining, Node: "b", Pods: 2})
	evicted, sought := tally.evictedFrom("b")
	p := Progress{
		Nodes: map[string]*NodeStatus{
			"a": {Standing: Maintained, Evicted: 2}, "b": {Standing: Begun, Evicted: evicted}, "c": {Standing: Waiting}, "d": {Standing: Waiting},
		},
		Active: map[string]bool{"b": true},
		Sought: map[string]int{"b": sought},
	}
	d := Next(spec.view(snapshot), spec, p)
	if len(d.Start) > 0 || len(d.Waits) != 2 || d.Waits[1] != (NodeReason{"d", "its pods would have to move again"}) {
		t.Errorf("%+v", d)
	}
	p.Sought = nil
	if d := Next(spec.view(snapshot), spec, p); len(d.Start) != 1 {
		t.Errorf("the situation is none in which it matters: %+v", d)
	}
}

// TestEvictionsCountOnce: what the journal tells of is not counted again, at no moment.
func TestEvictionsCountOnce(t *testing.T) {
	c := newFakeCluster(t, "a")
	e := newTrial(t, c, testSpec("a")).engine
	e.tally.Emit(event.Event{Type: event.NodePhase, Phase: event.PhaseDraining, Node: "a", Pods: 3})
	for range 2 {
		e.tally.Emit(event.Event{Type: event.PodEvicted, Node: "a", Pod: &event.Pod{Namespace: "shop", Name: "web"}})
	}
	expect := func(evicted, sought int) {
		t.Helper()
		if p := e.progress(map[string]bool{"a": true}); p.Nodes["a"].Evicted != evicted || p.Sought["a"] != sought {
			t.Errorf("%d evicted, %d sought; want %d, %d", p.Nodes["a"].Evicted, p.Sought["a"], evicted, sought)
		}
	}
	expect(2, 3)
	// The third one went by itself.
	if err := e.record(Record{Kind: KindStep, Node: "a", Step: StepDrain, State: Done, Evicted: 2}); err != nil {
		t.Fatal(err)
	}
	expect(2, 2)
}

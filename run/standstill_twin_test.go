// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/twin"
)

// TestTwinStandstill has another pod take all the room that was meant for those of a
// node, right after the node was cordoned. Without giving its turn back the drain would
// wait until its time is over.
func TestTwinStandstill(t *testing.T) {
	s := newSite(t, twin.Options{Nodes: 2, Scenario: "testdata/narrow.yaml", Wait: true})
	pods := s.admin.CoreV1().Pods("narrow")
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, p := range list.Items {
		count[p.Spec.NodeName]++
	}
	names := s.names(t)
	target, other := names[0], names[1]
	if count[other] > count[target] {
		target, other = other, target
	}
	if count[target] < 2 {
		t.Fatalf("where the pods are: %v", count)
	}
	thief := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "thief"},
		Spec: corev1.PodSpec{NodeName: other, Containers: []corev1.Container{{
			Name: "thief", Image: "thief",
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: s.node(t, other).Status.Allocatable[corev1.ResourceCPU]}},
		}}},
	}
	told := s.operator.Sink
	s.operator.Sink = event.SinkFunc(func(e event.Event) {
		told.Emit(e)
		switch {
		case e.Type == event.NodeCordoned && e.Node == target && thief != nil:
			if _, err := pods.Create(t.Context(), thief, metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
			thief = nil
		case e.Type == event.NodePhase && e.Phase == event.PhasePending && e.Node == target: // it has given its turn back
			if err := pods.Delete(t.Context(), "thief", metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}); err != nil {
				t.Error(err)
			}
		}
	})
	o := s.maintain(t.Context(), t, request(target))
	if n := o.Status.Nodes[target]; o.Result != event.ResultDone || n.Standing != Maintained || n.Retreats != 1 {
		t.Errorf("%+v, %+v", o, n)
	}
	s.uncordoned(t)
}

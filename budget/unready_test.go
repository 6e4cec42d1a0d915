// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func readySince(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Conditions[1].LastTransitionTime = ago(d) }
}

func waits(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
	}
}

func unplaced(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: ago(d)}}
	}
}

func TestUnready(t *testing.T) {
	running := corev1.PodRunning
	for _, tc := range []struct {
		pod     *corev1.Pod
		why     string
		lasting bool
	}{
		{pod("good", corev1.ConditionTrue, running), "", false},
		{pod("leaving", corev1.ConditionTrue, running, deleted), "terminating", false},
		{pod("should be gone", corev1.ConditionTrue, running, func(p *corev1.Pod) { d := ago(time.Hour); p.DeletionTimestamp = &d }), "terminating", true},
		{pod("starting", corev1.ConditionFalse, running, readySince(30*time.Second)), "not ready for 30s", false},
		{pod("on a node that was lost", corev1.ConditionFalse, running, readySince(5*time.Minute)), "not ready for 5m", false},
		{pod("its volume is detached in a moment", corev1.ConditionFalse, corev1.PodPending, waits("ContainerCreating"), readySince(6*time.Minute)), "not ready for 6m", false},
		{pod("ailing", corev1.ConditionFalse, running, readySince(10*time.Minute)), "not ready for 10m", true},
		{pod("crashing", corev1.ConditionFalse, running, waits("CrashLoopBackOff")), "CrashLoopBackOff", true},
		{pod("misnamed", corev1.ConditionFalse, corev1.PodPending, waits("ErrImagePull")), "ErrImagePull", true},
		{pod("pulling", corev1.ConditionFalse, corev1.PodPending, waits("ContainerCreating")), "not ready", false},
		{pod("homeless", corev1.ConditionFalse, corev1.PodPending, unplaced(time.Minute)), "unschedulable", false},
		{pod("stranded", corev1.ConditionFalse, corev1.PodPending, unplaced(time.Hour)), "unschedulable", true},
		{pod("new", "", corev1.PodPending, func(p *corev1.Pod) { p.CreationTimestamp = ago(time.Second) }), "not ready for 1s", false},
		{pod("from the future", corev1.ConditionFalse, running, readySince(-time.Hour)), "not ready", false},
	} {
		if why, lasting := budget.Unready(tc.pod, noon); why != tc.why || lasting != tc.lasting {
			t.Errorf("%s: %q, %v; want %q, %v", tc.pod.Name, why, lasting, tc.why, tc.lasting)
		}
	}
}

func TestRecovering(t *testing.T) {
	web := &cluster.Workload{Kind: "ReplicaSet", Desired: 6}
	b := &cluster.Budget{PodDisruptionBudget: &policyv1.PodDisruptionBudget{}}
	b.Status.CurrentHealthy = 1
	b.Status.DisruptedPods = map[string]metav1.Time{"evicted": ago(0)}
	for _, p := range []*corev1.Pod{
		pod("good", corev1.ConditionTrue, corev1.PodRunning),
		pod("evicted", corev1.ConditionTrue, corev1.PodRunning),
		pod("starting", corev1.ConditionFalse, corev1.PodRunning, readySince(30*time.Second)),
		pod("ailing", corev1.ConditionFalse, corev1.PodRunning, readySince(10*time.Minute)),
		pod("done", corev1.ConditionFalse, corev1.PodSucceeded),
	} {
		x := &cluster.Pod{Pod: p, Controllers: []*cluster.Workload{web}}
		b.Pods, web.Pods = append(b.Pods, x), append(web.Pods, x)
	}
	// Two that are there, and two that are not made yet.
	if got := budget.Recovering(b, noon); got != 4 {
		t.Errorf("%d pods of the budget, want 4", got)
	}
	if got := budget.Returning(web, noon); got != 3 {
		t.Errorf("%d pods of the workload, want 3", got)
	}
	b.Status.CurrentHealthy = 0 // the controller has not seen yet that one is healthy
	if got := budget.Recovering(b, noon); got != 5 {
		t.Errorf("%d pods of the budget, want 5", got)
	}
	b.Status.CurrentHealthy = 2 // nor that one is not any more
	if got := budget.Recovering(b, noon); got != 4 {
		t.Errorf("%d pods of the budget, want 4", got)
	}
	web.Desired = -1 // not known
	if got := budget.Recovering(b, noon); got != 3 {
		t.Errorf("%d pods of the budget, want 3", got)
	}
}

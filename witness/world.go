// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// world is the cluster as it is at one revision.
type world struct {
	pods        map[types.UID]*corev1.Pod
	nodes       map[types.UID]*corev1.Node
	budgets     map[types.UID]*budget
	deployments map[types.UID]*appsv1.Deployment
	replicaSets map[types.UID]*appsv1.ReplicaSet
	sets        map[types.UID]*set
	// scales of StatefulSets and ReplicationControllers
	scales map[types.UID]int32
}

// budget is a PodDisruptionBudget with the pods that it selects.
type budget struct {
	*policyv1.PodDisruptionBudget
	selector labels.Selector
	pods     map[types.UID]*corev1.Pod
}

func newWorld() *world {
	return &world{
		pods: map[types.UID]*corev1.Pod{}, nodes: map[types.UID]*corev1.Node{}, budgets: map[types.UID]*budget{},
		deployments: map[types.UID]*appsv1.Deployment{}, replicaSets: map[types.UID]*appsv1.ReplicaSet{},
		sets: map[types.UID]*set{}, scales: map[types.UID]int32{},
	}
}

// apply makes the change verb of object.
func (w *world) apply(verb watch.EventType, object metav1.Object) error {
	uid, gone := object.GetUID(), verb == watch.Deleted
	switch o := object.(type) {
	case *corev1.Pod:
		w.applyPod(o, gone)
	case *policyv1.PodDisruptionBudget:
		return w.applyBudget(o, gone)
	case *corev1.Node:
		put(w.nodes, uid, o, gone)
	case *appsv1.Deployment:
		put(w.deployments, uid, o, gone)
	case *appsv1.ReplicaSet:
		put(w.replicaSets, uid, o, gone)
	case *appsv1.StatefulSet:
		w.applySet(o, gone)
		put(w.scales, uid, replicas(o.Spec.Replicas), gone)
	case *corev1.ReplicationController:
		put(w.scales, uid, replicas(o.Spec.Replicas), gone)
	default:
		return fmt.Errorf("%s is a %T, which nobody watches", name(object), object)
	}
	return nil
}

func put[T any](m map[types.UID]T, uid types.UID, o T, gone bool) {
	if gone {
		delete(m, uid)
	} else {
		m[uid] = o
	}
}

func (w *world) applyPod(pod *corev1.Pod, gone bool) {
	if old := w.pods[pod.UID]; old != nil {
		if s := w.setOf(old); s != nil {
			delete(s.pods, pod.UID)
		}
	}
	put(w.pods, pod.UID, pod, gone)
	if s := w.setOf(pod); s != nil {
		put(s.pods, pod.UID, pod, gone)
	}
	for _, b := range w.budgets {
		put(b.pods, pod.UID, pod, gone || !b.selects(pod))
	}
}

func (w *world) applyBudget(o *policyv1.PodDisruptionBudget, gone bool) error {
	if old := w.budgets[o.UID]; old != nil && !gone && old.Generation == o.Generation {
		old.PodDisruptionBudget = o // only its status, which nobody here believes
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(o.Spec.Selector)
	if err != nil {
		return fmt.Errorf("budget %s: %w", name(o), err)
	}
	b := &budget{o, selector, map[types.UID]*corev1.Pod{}}
	for uid, pod := range w.pods {
		if b.selects(pod) {
			b.pods[uid] = pod
		}
	}
	put(w.budgets, o.UID, b, gone)
	return nil
}

// selects follows policy/v1: an empty selector selects all pods of the
// namespace, one that is not there selects none.
func (b *budget) selects(pod *corev1.Pod) bool {
	return pod.Namespace == b.Namespace && b.selector.Matches(labels.Set(pod.Labels))
}

// healthy counts the budget's pods that are.
func (b *budget) healthy() int { return countHealthy(b.pods) }

func countHealthy(pods map[types.UID]*corev1.Pod) int {
	n := 0
	for _, pod := range pods {
		if healthy(pod) {
			n++
		}
	}
	return n
}

func healthy(pod *corev1.Pod) bool { return !ending(pod) && hasCondition(pod, corev1.PodReady, "") }

// ending tells whether a pod has begun to end.
func ending(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil }

// evicted tells whether a pod bears the mark of the Eviction API.
func evicted(pod *corev1.Pod) bool {
	return hasCondition(pod, corev1.DisruptionTarget, "EvictionByEvictionAPI")
}

func hasCondition(pod *corev1.Pod, kind corev1.PodConditionType, reason string) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue && (reason == "" || c.Reason == reason)
		}
	}
	return false
}

// replicas is what a controller wants; the API server fills in 1 where nothing is said.
func replicas(spec *int32) int32 {
	if spec == nil {
		return 1
	}
	return *spec
}

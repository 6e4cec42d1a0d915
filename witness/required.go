// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// required says how many healthy pods b requires, by its spec and what the
// controllers of its pods want. The rule is that of getExpectedPodCount in
// pkg/controller/disruption/disruption.go; percentages are rounded up.
func (w *world) required(b *budget) (int, error) {
	switch spec := b.Spec; {
	case spec.MaxUnavailable != nil:
		expected, err := w.expected(b)
		if err != nil {
			return 0, err
		}
		may, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, expected, true)
		if err != nil {
			return 0, fmt.Errorf("budget %s: maxUnavailable %s: %w", name(b), spec.MaxUnavailable, err)
		}
		return max(0, expected-may), nil
	case spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.Int:
		return spec.MinAvailable.IntValue(), nil
	case spec.MinAvailable != nil:
		expected, err := w.expected(b)
		if err != nil {
			return 0, err
		}
		must, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, expected, true)
		if err != nil {
			return 0, fmt.Errorf("budget %s: minAvailable %s: %w", name(b), spec.MinAvailable, err)
		}
		return must, nil
	}
	return 0, nil // a budget that says neither lets everything go
}

// expected is the sum of the replicas of all controllers that the budget's pods have.
// Pods without a controller do not count.
func (w *world) expected(b *budget) (int, error) {
	scales := map[types.UID]int32{}
	for _, pod := range b.pods {
		owner := metav1.GetControllerOf(pod)
		if owner == nil {
			continue
		}
		uid, scale, err := w.scale(owner)
		if err != nil {
			return 0, fmt.Errorf("how many pods budget %s expects is not known: pod %s: %w", name(b), name(pod), err)
		}
		scales[uid] = scale
	}
	sum := 0
	for _, n := range scales {
		sum += int(n)
	}
	return sum, nil
}

// scale finds the controller that decides how many pods there are: a ReplicaSet
// of a Deployment wants what the Deployment wants.
func (w *world) scale(owner *metav1.OwnerReference) (types.UID, int32, error) {
	if rs := w.replicaSets[owner.UID]; rs != nil {
		above := metav1.GetControllerOf(rs)
		if above == nil || above.Kind != "Deployment" {
			return rs.UID, replicas(rs.Spec.Replicas), nil
		}
		if d := w.deployments[above.UID]; d != nil {
			return d.UID, replicas(d.Spec.Replicas), nil
		}
		return "", 0, fmt.Errorf("its Deployment %s does not exist", above.Name)
	}
	if n, ok := w.scales[owner.UID]; ok {
		return owner.UID, n, nil
	}
	return "", 0, fmt.Errorf("its controller, %s %s, does not exist or has no scale that the witness knows", owner.Kind, owner.Name)
}

// movable tells whether maintenance has to move a pod off its node: it is none
// of a DaemonSet, none that a kubelet made from a file, and not over.
func movable(pod *corev1.Pod) bool {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return false
	}
	owner := metav1.GetControllerOf(pod)
	return (owner == nil || owner.Kind != "DaemonSet") &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

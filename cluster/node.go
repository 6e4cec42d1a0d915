// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import corev1 "k8s.io/api/core/v1"

// Ready tells whether the kubelet reports the node as Ready.
func Ready(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Passing tells whether a taint comes and goes with a node's cordon and its
// readiness: the node lifecycle controller sets and removes it.
func Passing(t *corev1.Taint) bool {
	return t.Key == corev1.TaintNodeUnschedulable || t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
}

// HeldBack tells whether a node has a Passing taint that keeps new pods away. Right
// after the node was uncordoned, or became Ready, it still has, and until the
// controller has removed it the scheduler sends nothing there.
//
// Taints with the effect NoExecute are none of these: the controller looks at them
// only every 5 seconds (--node-monitor-period of kube-controller-manager), but every
// pod tolerates them for 5 minutes by the admission plugin DefaultTolerationSeconds,
// so that the scheduler passes over them.
func HeldBack(node *corev1.Node) bool {
	for i := range node.Spec.Taints {
		if t := &node.Spec.Taints[i]; Passing(t) && t.Effect == corev1.TaintEffectNoSchedule {
			return true
		}
	}
	return false
}

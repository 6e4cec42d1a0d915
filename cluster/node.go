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

// HeldBack tells whether a node has a Passing taint. Right after the node was
// uncordoned, or became Ready, it still has, and until the controller has removed it
// the scheduler keeps pods away.
func HeldBack(node *corev1.Node) bool {
	for i := range node.Spec.Taints {
		if Passing(&node.Spec.Taints[i]) {
			return true
		}
	}
	return false
}

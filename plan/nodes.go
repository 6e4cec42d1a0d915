// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// controlPlane tells by the label that kubeadm and others set.
func controlPlane(node *corev1.Node) bool {
	_, found := node.Labels["node-role.kubernetes.io/control-plane"]
	return found
}

// ready tells whether the kubelet reports the node as Ready.
func ready(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// atBest is how many pods a budget lets go at once when all is well.
func atBest(b *cluster.Budget) int {
	members, known := budget.Steady(b)
	if !known {
		return max(1, int(b.Status.DisruptionsAllowed)) // the server knows
	}
	demand, err := budget.Of(b.PodDisruptionBudget, members)
	if err != nil {
		return 0
	}
	return demand.AtBest(members)
}

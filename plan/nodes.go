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

// atBest is how many pods a budget lets go at once when all is well.
func atBest(b *cluster.Budget) int {
	members, known := budget.Steady(b)
	return budget.AtBest(b.PodDisruptionBudget, members, known)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/utils/ptr"

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
	return atBestOf(b.PodDisruptionBudget, members, known)
}

// atBestOf is atBest with what budget.Steady says of the budget's pods.
func atBestOf(pdb *policyv1.PodDisruptionBudget, members budget.Members, known bool) int {
	if !known {
		return max(1, int(pdb.Status.DisruptionsAllowed)) // the server knows
	}
	demand, err := budget.Of(pdb, members)
	if err != nil {
		return 0
	}
	return demand.AtBest(members)
}

// allowedNow is how many pods a budget lets go now; below zero if that many have to
// become healthy before it lets one go.
func allowedNow(pdb *policyv1.PodDisruptionBudget) int {
	switch {
	case pdb.Status.ObservedGeneration < pdb.Generation:
		return 0 // the server refuses until the disruption controller has looked
	case pdb.Status.DisruptionsAllowed == 0:
		return min(0, int(pdb.Status.CurrentHealthy-pdb.Status.DesiredHealthy))
	}
	return int(pdb.Status.DisruptionsAllowed)
}

// neverGoes is budget.NeverOnceRunning for who knows how many budgets select an
// unfinished pod, and of a single one how many it lets go at best.
func neverGoes(p *corev1.Pod, budgets int, only *policyv1.PodDisruptionBudget, atBest int) bool {
	switch {
	case p.DeletionTimestamp != nil || budgets == 0:
		return false
	case budgets > 1:
		return true
	case !budget.Healthy(p) && ptr.Deref(only.Spec.UnhealthyPodEvictionPolicy, "") == policyv1.AlwaysAllow:
		return false
	}
	return atBest == 0
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// ControlPlaneLabel is the label that kubeadm and others give to nodes of the control plane
// (https://kubernetes.io/docs/reference/labels-annotations-taints/#node-role-kubernetes-io-control-plane).
const ControlPlaneLabel = "node-role.kubernetes.io/control-plane"

// ControlPlane tells by its label whether a node is one of the control plane.
func ControlPlane(node *corev1.Node) bool {
	_, found := node.Labels[ControlPlaneLabel]
	return found
}

// planeLabels are those of nodes of the control plane, and of nodes that have a member of etcd: beside
// ControlPlaneLabel what it was called before 1.24, and what k3s and RKE give to nodes of either kind.
// No cloud gives one of them to a node whose control plane is the cloud's own.
func planeLabels() []string {
	return []string{ControlPlaneLabel, "node-role.kubernetes.io/master", "node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/etcd"}
}

// PlaneLabel is the label that says of a node that it is one of the control plane, or has a member of
// etcd; "" if none does. It takes in more than ControlPlane: what must not be removed, rather than
// what kubeadm raises.
func PlaneLabel(node *corev1.Node) string {
	for _, label := range planeLabels() {
		if _, found := node.Labels[label]; found {
			return label
		}
	}
	return ""
}

// Ready tells whether the kubelet reports the node as Ready.
func Ready(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Lost tells whether the control plane has given the node up: its kubelet does not
// answer. The node controller says so by a Ready condition that is Unknown, once
// the node's lease is silent for the grace period (tryUpdateNodeHealth in
// pkg/controller/nodelifecycle/node_lifecycle_controller.go). A node that says
// itself that it is not Ready is not lost.
func Lost(node *corev1.Node) bool {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionUnknown
		}
	}
	return false
}

// OutOfService tells whether what is left of the node's pods is removed without
// its kubelet: it is not Ready and has the taint that says so (gcTerminating in
// pkg/controller/podgc/gc_controller.go, KEP-2268). Volumes are then detached at once.
func OutOfService(node *corev1.Node) bool {
	return !Ready(node) && slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
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

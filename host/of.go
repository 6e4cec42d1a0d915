// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/twin/simulated"
)

// CanReboot tells whether refit has a way to reboot the machine of node. It
// asks nobody, so that it can be checked for all nodes before anything is done.
func CanReboot(node *corev1.Node) bool {
	_, simulatedNode := node.Labels[simulated.KubeletLabel]
	return simulatedNode
}

// Of returns the Host of node for the named run: nodes of a twin are
// Simulated, all others are worked on from the local shell.
func Of(client kubernetes.Interface, node *corev1.Node, run string) Host {
	if CanReboot(node) {
		return NewSimulated(client, node, run)
	}
	return NewLocal(node, run)
}

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

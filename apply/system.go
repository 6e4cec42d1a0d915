// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ofSystem tells whether an object is one that a cluster stands on: what kubeadm and the control plane keep
// in their namespaces (where the API server is, who signs for it, how nodes join and proxy), and the
// way to the API server. A namespace of theirs is one if something is to be set on it.
func ofSystem(t *target) bool {
	namespaces := []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}
	if t.key == namespaceKey(t.GetName()) {
		return slices.Contains(namespaces, t.GetName()) && len(t.GetAnnotations())+len(ownLabels(t)) > 0
	}
	return slices.Contains(namespaces, t.GetNamespace()) || t.GetNamespace() == metav1.NamespaceDefault && t.GetName() == "kubernetes"
}

// ownLabels are the labels of a namespace but for the one that the API server sets.
func ownLabels(t *target) map[string]string {
	labels := t.GetLabels()
	delete(labels, corev1.LabelMetadataName)
	return labels
}

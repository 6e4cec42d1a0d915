// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
)

// likeness is what the node of a new machine takes over from the one in whose place it comes.
type likeness struct {
	labels map[string]string
	taints []corev1.Taint
}

// likenessOf returns what a node has that is the operator's own, and not the system's or refit's.
func likenessOf(node *corev1.Node) likeness {
	l := likeness{labels: map[string]string{}}
	for key, value := range node.Labels {
		if !systemLabel(key) {
			l.labels[key] = value
		}
	}
	for _, t := range node.Spec.Taints {
		if !systemTaint(t.Key) {
			l.taints = append(l.taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: t.Effect})
		}
	}
	return l
}

// systemLabel tells of a label that says something of one machine, and is set by what runs there
// or by a cloud: hostname, zone, architecture. All in the domains kubernetes.io and k8s.io are
// reserved for that (https://kubernetes.io/docs/reference/labels-annotations-taints/), but for roles,
// which kubeadm and people set, and for those that only others than kubelets may set.
func systemLabel(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if !qualified || domain == "node-role.kubernetes.io" || domain == "node-restriction.kubernetes.io" {
		return false
	}
	return within(domain, "kubernetes.io") || within(domain, "k8s.io")
}

// systemTaint tells of a taint that says how one node is at the moment.
func systemTaint(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if key == cluster.TaintKey {
		return true
	}
	return qualified && domain != "node-role.kubernetes.io" && (within(domain, "kubernetes.io") || within(domain, "k8s.io"))
}

func within(domain, parent string) bool {
	return domain == parent || strings.HasSuffix(domain, "."+parent)
}

// missing returns what a node lacks of the likeness, and which of its labels have other values: its
// own, which are left as they are.
func (l likeness) missing(node *corev1.Node) (lack likeness, differ []string) {
	lack.labels = map[string]string{}
	for key, want := range l.labels {
		switch has, there := node.Labels[key]; {
		case !there:
			lack.labels[key] = want
		case has != want:
			differ = append(differ, key)
		}
	}
	for _, t := range l.taints {
		if !slices.ContainsFunc(node.Spec.Taints, func(x corev1.Taint) bool { return x.Key == t.Key && x.Effect == t.Effect }) {
			lack.taints = append(lack.taints, t)
		}
	}
	slices.Sort(differ)
	return lack, differ
}

func (l likeness) empty() bool { return len(l.labels) == 0 && len(l.taints) == 0 }

// taintTexts are taints as kubelets' --register-with-taints has them.
func (l likeness) taintTexts() []string {
	var texts []string
	for _, t := range l.taints {
		texts = append(texts, t.Key+"="+t.Value+":"+string(t.Effect))
	}
	return texts
}

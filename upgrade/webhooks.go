// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// write is a kind of object that kubeadm, a kubelet or a controller writes in the course of
// an upgrade (the phases upload-config, kubelet-config, addons and bootstrap-token of
// kubeadm upgrade apply; mirror pods; leases of leader election).
type write struct {
	group, version, resource string
	namespace                string // "" for objects outside of namespaces
	operations               []admissionv1.OperationType
}

func writes() []write {
	const rbac = "rbac.authorization.k8s.io"
	both := []admissionv1.OperationType{admissionv1.Create, admissionv1.Update}
	system := metav1.NamespaceSystem
	return []write{
		{"", "v1", "configmaps", system, both},
		{"", "v1", "pods", system, append([]admissionv1.OperationType{admissionv1.Delete}, both...)},
		{"apps", "v1", "daemonsets", system, both},
		{"apps", "v1", "deployments", system, both},
		{"", "v1", "serviceaccounts", system, both},
		{rbac, "v1", "roles", system, both},
		{rbac, "v1", "rolebindings", system, both},
		{rbac, "v1", "clusterroles", "", both},
		{rbac, "v1", "clusterrolebindings", "", both},
		{"coordination.k8s.io", "v1", "leases", system, both},
	}
}

// checkWebhooks tells of fail-closed webhooks that see what an upgrade writes.
func (d *decision) checkWebhooks() {
	if len(d.plan.Hops) == 0 {
		return
	}
	for _, w := range d.Snapshot.Webhooks {
		if w.FailurePolicy != admissionv1.Fail {
			continue
		}
		var sees []string
		for _, x := range writes() {
			if x.seenBy(w, d.Snapshot) {
				sees = append(sees, x.resource)
			}
		}
		if len(sees) == 0 {
			continue
		}
		object := cluster.Object{Kind: "ValidatingWebhookConfiguration", Name: w.Configuration}
		if w.Mutating {
			object.Kind = "MutatingWebhookConfiguration"
		}
		ready := 0
		for _, p := range w.Backends {
			if budget.Healthy(p.Pod) {
				ready++
			}
		}
		known := w.Service.Name != "" && len(w.Conditions) == 0
		switch {
		case known && !w.ServiceFound && !d.unread("services"):
			d.add(WebhookRefuses, object, "webhook %s sees %s of kube-system, and its service %s does not exist", w.Name, few(sees), w.Service)
		case known && w.ServiceSelects && ready == 0:
			d.add(WebhookRefuses, object, "webhook %s sees %s of kube-system, and no pod behind its service %s is ready", w.Name, few(sees), w.Service)
		case w.Service.Name == "":
			d.add(WebhookSeesThese, object, "webhook %s sees %s of kube-system; it is outside of the cluster", w.Name, few(sees))
		case w.ServiceSelects:
			d.add(WebhookSeesThese, object, "webhook %s sees %s of kube-system; %s of service %s answers for it", w.Name, few(sees), phrase.Count(ready, "ready pod"), w.Service)
		default:
			d.add(WebhookSeesThese, object, "webhook %s sees %s of kube-system; who is behind its service %s cannot be seen", w.Name, few(sees), w.Service)
		}
	}
}

// seenBy tells whether a webhook is asked about such a write. Objects are taken to have no
// labels, as most of those have none that a selector would name.
func (x write) seenBy(w *cluster.Webhook, s *cluster.Snapshot) bool {
	scope := admissionv1.ClusterScope
	if x.namespace != "" {
		scope = admissionv1.NamespacedScope
		if !w.Namespaces.Matches(labels.Merge(labels.Set{corev1.LabelMetadataName: x.namespace}, s.Namespaces[x.namespace])) {
			return false
		}
	}
	either := func(list []string, want string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, want)
	}
	return w.Objects.Matches(labels.Set(nil)) && slices.ContainsFunc(w.Rules, func(r admissionv1.RuleWithOperations) bool {
		operation := slices.Contains(r.Operations, admissionv1.OperationAll) ||
			slices.ContainsFunc(r.Operations, func(o admissionv1.OperationType) bool { return slices.Contains(x.operations, o) })
		inScope := r.Scope == nil || *r.Scope == admissionv1.AllScopes || *r.Scope == scope
		return operation && inScope && either(r.APIGroups, x.group) && either(r.APIVersions, x.version) &&
			slices.ContainsFunc(r.Resources, func(entry string) bool {
				resource, subresource, _ := strings.Cut(entry, "/")
				return (resource == "*" || resource == x.resource) && (subresource == "" || subresource == "*")
			})
	})
}

// unread tells whether a resource could not be read.
func (d *decision) unread(resource string) bool {
	return slices.ContainsFunc(d.Snapshot.Unread, func(f cluster.Finding) bool {
		return f.Code == cluster.CodeUnread && f.Object.Name == resource
	})
}

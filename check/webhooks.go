// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// request is one kind of request that maintenance makes, itself or by the hand of others.
type request struct {
	what                                  string
	operation                             admissionv1.OperationType
	group, version, resource, subresource string
	// labels are those of the objects in question; a nil map is an object without labels.
	labels func(c *checker, namespace string) []labels.Set
	// namespaces in which there are such requests; nil for objects outside of namespaces.
	namespaces func(c *checker) []string
}

// requests lists them. An eviction is the creation of a pod's subresource
// "eviction", its object is the Eviction, which has no labels. The kubelet ends
// a pod by deleting it, renews a Lease, and writes its Node's status.
func requests() []request {
	const evictions, creation, deletion = "evictions", "creation of pods", "deletion of pods"
	bare := func(*checker, string) []labels.Set { return []labels.Set{nil} }
	leases := func(*checker) []string { return []string{corev1.NamespaceNodeLease} }
	return []request{
		{evictions, admissionv1.Create, "", "v1", "pods", "eviction", bare, (*checker).podNamespaces},
		{creation, admissionv1.Create, "", "v1", "pods", "", (*checker).podLabels, (*checker).podNamespaces},
		{deletion, admissionv1.Delete, "", "v1", "pods", "", (*checker).podLabels, (*checker).podNamespaces},
		{"changes of nodes", admissionv1.Update, "", "v1", "nodes", "", (*checker).nodeLabels, nil},
		{"status of nodes", admissionv1.Update, "", "v1", "nodes", "status", (*checker).nodeLabels, nil},
		{"node leases", admissionv1.Update, "coordination.k8s.io", "v1", "leases", "", bare, leases},
	}
}

func checkWebhooks(c *checker) {
	for _, h := range c.s.Webhooks {
		if h.FailurePolicy == admissionv1.Fail {
			c.checkWebhook(h)
		}
	}
}

func (c *checker) checkWebhook(h *cluster.Webhook) {
	var sees []string
	for _, r := range requests() {
		if text := c.sees(h, r); text != "" {
			sees = append(sees, text)
		}
	}
	if len(sees) == 0 {
		return
	}
	kind := "ValidatingWebhookConfiguration"
	if h.Mutating {
		kind = "MutatingWebhookConfiguration"
	}
	object := cluster.Object{Kind: kind, Name: h.Configuration}
	seen := fmt.Sprintf("webhook %s refuses when it does not answer, and sees %s", h.Name, strings.Join(sees, ", "))
	certain := len(h.Conditions) == 0
	if !certain {
		seen += " (its matchConditions, which were not evaluated, may except some)"
	}
	healthy, nodes := backends(h)
	switch {
	case h.Service.Name == "":
		c.add(WebhookFailClosed, object, "%s; it is outside of the cluster", seen)
	case certain && !h.ServiceFound && !c.unread("services"):
		c.add(WebhookUnavailable, object, "%s; its service %s does not exist", seen, h.Service)
	case certain && h.ServiceSelects && len(h.Backends) == 0:
		c.add(WebhookUnavailable, object, "%s; no pod is behind its service %s", seen, h.Service)
	case certain && h.ServiceSelects && healthy == 0:
		c.add(WebhookUnavailable, object, "%s; none of the %s behind its service %s is ready", seen, phrase.Count(len(h.Backends), "pod"), h.Service)
	case certain && len(nodes) == 1 && c.seesOwnPods(h):
		c.add(WebhookSelfBlocking, object, "%s, also its own: %s of service %s, all on %s", seen, phrase.Count(healthy, "ready pod"), h.Service, nodes[0])
	case h.ServiceSelects:
		c.add(WebhookFailClosed, object, "%s; %s of service %s on %s", seen, phrase.Count(healthy, "ready pod"), h.Service, some(nodes))
	default:
		c.add(WebhookFailClosed, object, "%s; who is behind its service %s cannot be seen", seen, h.Service)
	}
}

// sees says what of r the webhook is asked about: "evictions in shop", or nothing.
func (c *checker) sees(h *cluster.Webhook, r request) string {
	if !slices.ContainsFunc(h.Rules, r.under) {
		return ""
	}
	matches := func(namespace string) bool {
		return slices.ContainsFunc(r.labels(c, namespace), func(l labels.Set) bool { return h.Objects.Matches(l) })
	}
	if r.namespaces == nil {
		if matches("") {
			return r.what
		}
		return ""
	}
	var in []string
	all := r.namespaces(c)
	for _, namespace := range all {
		if h.Namespaces.Matches(c.namespaceLabels(namespace)) && matches(namespace) {
			in = append(in, namespace)
		}
	}
	if len(in) == 0 {
		return ""
	}
	return r.what + " in " + some(in)
}

// seesOwnPods tells whether a replacement of one of the webhook's own pods would
// have to pass the webhook.
func (c *checker) seesOwnPods(h *cluster.Webhook) bool {
	for _, r := range requests() {
		if r.resource != "pods" || r.subresource != "" || r.operation != admissionv1.Create {
			continue
		}
		return h.Namespaces.Matches(c.namespaceLabels(h.Service.Namespace)) &&
			slices.ContainsFunc(h.Rules, r.under) &&
			slices.ContainsFunc(h.Backends, func(p *cluster.Pod) bool { return h.Objects.Matches(labels.Set(p.Labels)) })
	}
	return false
}

// under tells whether a rule covers the request (Matcher in
// k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules).
func (r request) under(rule admissionv1.RuleWithOperations) bool {
	either := func(list []string, want string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, want)
	}
	operation := slices.Contains(rule.Operations, admissionv1.OperationAll) || slices.Contains(rule.Operations, r.operation)
	scope := admissionv1.NamespacedScope
	if r.namespaces == nil {
		scope = admissionv1.ClusterScope
	}
	inScope := rule.Scope == nil || *rule.Scope == admissionv1.AllScopes || *rule.Scope == scope
	return operation && inScope && either(rule.APIGroups, r.group) && either(rule.APIVersions, r.version) &&
		slices.ContainsFunc(rule.Resources, func(entry string) bool {
			resource, subresource, _ := strings.Cut(entry, "/")
			return (resource == "*" || resource == r.resource) && (subresource == "*" || subresource == r.subresource)
		})
}

// backends counts the ready pods behind the webhook and lists their nodes, sorted.
func backends(h *cluster.Webhook) (healthy int, nodes []string) {
	for _, p := range h.Backends {
		if p.Host != nil && budget.Healthy(p.Pod) {
			healthy++
			nodes = append(nodes, p.Host.Name)
		}
	}
	slices.Sort(nodes)
	return healthy, slices.Compact(nodes)
}

// podNamespaces are the namespaces of pods that would have to move, sorted.
func (c *checker) podNamespaces() []string { return slices.Sorted(maps.Keys(c.moving)) }

func (c *checker) podLabels(namespace string) []labels.Set {
	var sets []labels.Set
	for _, p := range c.moving[namespace] {
		sets = append(sets, p.Labels)
	}
	return sets
}

func (c *checker) nodeLabels(string) []labels.Set {
	var sets []labels.Set
	for _, n := range c.s.Nodes {
		sets = append(sets, n.Labels)
	}
	return sets
}

// namespaceLabels are a namespace's labels; the API server gives every one its name as a label.
func (c *checker) namespaceLabels(name string) labels.Set {
	set := labels.Set{corev1.LabelMetadataName: name}
	return labels.Merge(set, c.s.Namespaces[name])
}

// unread tells whether a resource could not be read.
func (c *checker) unread(resource string) bool {
	return slices.ContainsFunc(c.s.Unread, func(f cluster.Finding) bool { return f.Code == cluster.CodeUnread && f.Object.Name == resource })
}

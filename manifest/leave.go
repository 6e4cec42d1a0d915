// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Reason says why an object is left out of an export, in a word. The words are part of the contract of the
// command line.
type Reason string

const (
	// Controlled: a controller owns it, and makes it again (pods of ReplicaSets, EndpointSlices of Services).
	Controlled Reason = "controlled"
	// ServerMade: the control plane makes it in every cluster, or of other objects (default roles, kube-root-ca.crt).
	ServerMade Reason = "server-made"
	// Transient: it tells what goes on, and is no use later (Events, Leases, requests for certificates).
	Transient Reason = "transient"
	// Machine: a machine makes it when it joins (Nodes, mirror pods).
	Machine Reason = "machine"
	// Finished: it has run, and would run again (Jobs, pods).
	Finished Reason = "finished"
	// Leaving: it is being deleted, or its namespace is.
	Leaving Reason = "being-deleted"
	// Secret: Secrets were not asked for.
	Secret Reason = "secret"
)

// kindReasons are the kinds of which every object is left out.
func kindReasons() map[schema.GroupKind]Reason {
	return map[schema.GroupKind]Reason{
		{Kind: "Event"}:                                                   Transient,
		{Group: "events.k8s.io", Kind: "Event"}:                           Transient,
		{Group: "coordination.k8s.io", Kind: "Lease"}:                     Transient,
		{Group: "coordination.k8s.io", Kind: "LeaseCandidate"}:            Transient,
		{Group: "certificates.k8s.io", Kind: "CertificateSigningRequest"}: Transient,
		{Group: "certificates.k8s.io", Kind: "PodCertificateRequest"}:     Transient,
		{Group: "storage.k8s.io", Kind: "VolumeAttachment"}:               Transient,
		{Kind: "Node"}: Machine,
		{Group: "storage.k8s.io", Kind: "CSINode"}:                          Machine,
		{Group: "resource.k8s.io", Kind: "ResourceSlice"}:                   Machine,
		{Group: "internal.apiserver.k8s.io", Kind: "StorageVersion"}:        ServerMade,
		{Group: "networking.k8s.io", Kind: "IPAddress"}:                     ServerMade,
		{Group: "storage.k8s.io", Kind: "CSIStorageCapacity"}:               Transient,
		{Group: "apiserverinternal.k8s.io", Kind: "StorageVersion"}:         ServerMade,
		{Group: "apps", Kind: "ControllerRevision"}:                         Controlled,
		{Group: "migration.k8s.io", Kind: "StorageVersionMigration"}:        Transient,
		{Group: "storagemigration.k8s.io", Kind: "StorageVersionMigration"}: Transient,
	}
}

// LeaveOut tells whether and why an object, as the API server gave it, is no part of what somebody has put into the
// cluster. An empty Reason keeps it. Endpoints of a Service with a selector are left out as well, which one has
// to look at the Service for: see SelectsPods.
func LeaveOut(u *unstructured.Unstructured) Reason {
	kind := u.GroupVersionKind().GroupKind()
	if u.GetDeletionTimestamp() != nil {
		return Leaving
	}
	if r, ok := kindReasons()[kind]; ok {
		return r
	}
	if u.GetAnnotations()["kubernetes.io/config.mirror"] != "" {
		return Machine
	}
	claim := kind == schema.GroupKind{Kind: "PersistentVolumeClaim"} // its volume holds data that no controller makes again
	if !claim && slices.ContainsFunc(u.GetOwnerReferences(), func(o ownerReference) bool { return o.Controller != nil && *o.Controller }) {
		return Controlled
	}
	if serverMade(kind, u) {
		return ServerMade
	}
	if finished(kind, u) {
		return Finished
	}
	return ""
}

// serverMade recognises what the control plane makes in every cluster, each by the mark or the name that
// its source gives it.
func serverMade(kind schema.GroupKind, u *unstructured.Unstructured) bool {
	labels, annotations := u.GetLabels(), u.GetAnnotations()
	switch kind {
	case schema.GroupKind{Kind: "ConfigMap"}:
		return u.GetName() == "kube-root-ca.crt" || u.GetNamespace() == "kube-system" &&
			(u.GetName() == "extension-apiserver-authentication" || u.GetName() == "kube-apiserver-legacy-service-account-token-tracking")
	case schema.GroupKind{Group: "certificates.k8s.io", Kind: "ClusterTrustBundle"}:
		signer, _, _ := unstructured.NestedString(u.Object, "spec", "signerName")
		return strings.HasPrefix(signer, "kubernetes.io/") // the control plane's own signers
	case schema.GroupKind{Kind: "ServiceAccount"}:
		return u.GetName() == "default" && bare(u) || u.GetNamespace() == "kube-system" && bare(u) && controllerAccount(u.GetName())
	case schema.GroupKind{Kind: "Secret"}:
		kind, _, _ := unstructured.NestedString(u.Object, "type")
		return kind == "kubernetes.io/service-account-token"
	case schema.GroupKind{Kind: "Service"}, schema.GroupKind{Kind: "Endpoints"}, schema.GroupKind{Group: "discovery.k8s.io", Kind: "EndpointSlice"}:
		if u.GetNamespace() == "default" && u.GetName() == "kubernetes" {
			return true // the API server's own
		}
		by := labels["endpointslice.kubernetes.io/managed-by"]
		return by == "endpointslice-controller.k8s.io" || by == "endpointslicemirroring-controller.k8s.io" ||
			labels["endpoints.kubernetes.io/managed-by"] == "endpoint-controller"
	case schema.GroupKind{Group: "networking.k8s.io", Kind: "ServiceCIDR"}:
		return u.GetName() == "kubernetes"
	case schema.GroupKind{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:
		return strings.HasPrefix(u.GetName(), "system-") // the prefix is reserved
	case schema.GroupKind{Group: "apiregistration.k8s.io", Kind: "APIService"}:
		return labels["kube-aggregator.kubernetes.io/automanaged"] != ""
	}
	switch kind.Group {
	case "flowcontrol.apiserver.k8s.io":
		return annotations["apf.kubernetes.io/autoupdate-spec"] == "true"
	case rbac:
		return labels["kubernetes.io/bootstrapping"] == "rbac-defaults" && annotations["rbac.authorization.kubernetes.io/autoupdate"] == "true"
	}
	return false
}

// bare tells whether there is nothing in a service account but its name.
func bare(u *unstructured.Unstructured) bool {
	c := u.DeepCopy()
	Clean(c)
	metadata, _ := nestedMap(c.Object, "metadata")
	for field := range metadata {
		if field != "name" && field != "namespace" {
			return false
		}
	}
	for field := range c.Object {
		if field != "apiVersion" && field != "kind" && field != "metadata" {
			return false
		}
	}
	return true
}

// finished tells whether a Job or a pod has run to its end.
func finished(kind schema.GroupKind, u *unstructured.Unstructured) bool {
	switch kind {
	case schema.GroupKind{Kind: "Pod"}:
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		return phase == "Succeeded" || phase == "Failed"
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		return slices.ContainsFunc(conditions, func(c any) bool {
			m, _ := c.(map[string]any)
			return (m["type"] == "Complete" || m["type"] == "Failed") && m["status"] == "True"
		})
	}
	return false
}

// SelectsPods tells whether a Service finds its endpoints by itself: Endpoints of its name are made for it then.
func SelectsPods(service *unstructured.Unstructured) bool {
	selector, _, _ := unstructured.NestedMap(service.Object, "spec", "selector")
	return len(selector) > 0
}

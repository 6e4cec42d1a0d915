// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
)

// Kind groups the API's kinds into what a Snapshot is made of.
type Kind string

const (
	KindNode          Kind = "Node"
	KindPod           Kind = "Pod"
	KindBudget        Kind = "PodDisruptionBudget"
	KindWorkload      Kind = "Workload" // Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, ReplicationController
	KindVolume        Kind = "PersistentVolume"
	KindClaim         Kind = "PersistentVolumeClaim"
	KindAttachment    Kind = "VolumeAttachment"
	KindWebhook       Kind = "Webhook" // either kind of webhook configuration
	KindService       Kind = "Service"
	KindNamespace     Kind = "Namespace"
	KindPriorityClass Kind = "PriorityClass"
)

// source is one resource that a Snapshot is made of.
type source struct {
	kind     Kind
	resource schema.GroupVersionResource
	// unknown says what is not known if the resource cannot be read; "" marks a
	// resource without which there is no Snapshot.
	unknown string
	list    func(context.Context, kubernetes.Interface, metav1.ListOptions) (runtime.Object, error)
}

// sources lists every resource that is read. Nodes come first: their list fixes
// the resource version of the others.
func sources() []source {
	core, apps := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion
	type ctx = context.Context
	type client = kubernetes.Interface
	type opts = metav1.ListOptions
	return []source{
		{KindNode, core.WithResource("nodes"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.CoreV1().Nodes().List(x, o) }},
		{KindPod, core.WithResource("pods"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.CoreV1().Pods("").List(x, o) }},
		{KindBudget, policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.PolicyV1().PodDisruptionBudgets("").List(x, o)
			}},
		{KindWorkload, apps.WithResource("deployments"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.AppsV1().Deployments("").List(x, o) }},
		{KindWorkload, apps.WithResource("replicasets"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.AppsV1().ReplicaSets("").List(x, o) }},
		{KindWorkload, apps.WithResource("statefulsets"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.AppsV1().StatefulSets("").List(x, o) }},
		{KindWorkload, apps.WithResource("daemonsets"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.AppsV1().DaemonSets("").List(x, o) }},
		{KindWorkload, batchv1.SchemeGroupVersion.WithResource("jobs"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.BatchV1().Jobs("").List(x, o) }},
		{KindWorkload, core.WithResource("replicationcontrollers"), "",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.CoreV1().ReplicationControllers("").List(x, o)
			}},
		{KindVolume, core.WithResource("persistentvolumes"), "which volumes pods use, and which nodes those volumes tie them to",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.CoreV1().PersistentVolumes().List(x, o)
			}},
		{KindClaim, core.WithResource("persistentvolumeclaims"), "which volumes the claims of pods are bound to, except what the volumes themselves tell",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.CoreV1().PersistentVolumeClaims("").List(x, o)
			}},
		{KindAttachment, storagev1.SchemeGroupVersion.WithResource("volumeattachments"), "whether a volume is still attached to the node its pod left",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.StorageV1().VolumeAttachments().List(x, o)
			}},
		{KindWebhook, admissionv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "whether a validating webhook could refuse evictions or new pods",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(x, o)
			}},
		{KindWebhook, admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), "whether a mutating webhook could refuse evictions or new pods",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.AdmissionregistrationV1().MutatingWebhookConfigurations().List(x, o)
			}},
		{KindService, core.WithResource("services"), "which pods serve the admission webhooks",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.CoreV1().Services("").List(x, o) }},
		{KindNamespace, core.WithResource("namespaces"), "which namespaces the selectors of webhooks and of affinity terms match",
			func(x ctx, c client, o opts) (runtime.Object, error) { return c.CoreV1().Namespaces().List(x, o) }},
		{KindPriorityClass, schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"), "the values of priority classes (pods carry their own)",
			func(x ctx, c client, o opts) (runtime.Object, error) {
				return c.SchedulingV1().PriorityClasses().List(x, o)
			}},
	}
}

// unread is the finding for a source that err kept from being read.
func (s source) unread(err error) Finding {
	return Finding{
		Severity: Warning,
		Code:     CodeUnread,
		Object:   Object{Kind: "Resource", Name: s.resource.GroupResource().String()},
		Message:  "could not be read, so it is not known " + s.unknown + ": " + err.Error(),
		Hint:     permissionHint(s.resource.GroupResource()),
	}
}

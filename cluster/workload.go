// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// workloadOf makes a Workload of the object of a built-in controller, without
// what only other objects can tell (Pods, and its Controller's details). It
// returns nil for any other object. spec.replicas and a Job's parallelism
// default to 1, as the API server defaults them.
func workloadOf(obj any) *Workload {
	apps := appsv1.GroupName
	switch o := obj.(type) {
	case *appsv1.Deployment:
		w := makeWorkload(apps, "Deployment", &o.ObjectMeta, ptr.Deref(o.Spec.Replicas, 1), o.Status.ReadyReplicas, &o.Spec.Template)
		w.Rollout = RolloutOf(o)
		return w
	case *appsv1.ReplicaSet:
		return makeWorkload(apps, "ReplicaSet", &o.ObjectMeta, ptr.Deref(o.Spec.Replicas, 1), o.Status.ReadyReplicas, &o.Spec.Template)
	case *appsv1.StatefulSet:
		w := makeWorkload(apps, "StatefulSet", &o.ObjectMeta, ptr.Deref(o.Spec.Replicas, 1), o.Status.ReadyReplicas, &o.Spec.Template)
		if o.Spec.Ordinals != nil {
			w.FirstOrdinal = o.Spec.Ordinals.Start
		}
		return w
	case *appsv1.DaemonSet:
		return makeWorkload(apps, "DaemonSet", &o.ObjectMeta, o.Status.DesiredNumberScheduled, o.Status.NumberReady, &o.Spec.Template)
	case *batchv1.Job:
		w := makeWorkload(batchv1.GroupName, "Job", &o.ObjectMeta, ptr.Deref(o.Spec.Parallelism, 1), ptr.Deref(o.Status.Ready, -1), &o.Spec.Template)
		w.Attempts = AttemptsOf(o)
		return w
	case *corev1.ReplicationController:
		return makeWorkload("", "ReplicationController", &o.ObjectMeta, ptr.Deref(o.Spec.Replicas, 1), o.Status.ReadyReplicas, o.Spec.Template)
	}
	return nil
}

func makeWorkload(group, kind string, meta *metav1.ObjectMeta, desired, ready int32, template *corev1.PodTemplateSpec) *Workload {
	w := &Workload{
		Group: group, Kind: kind, Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, Labels: meta.Labels,
		Found: true, Deleting: meta.DeletionTimestamp != nil, Desired: desired, Ready: ready,
	}
	if template != nil {
		w.PodLabels, w.PodSpec = template.Labels, &template.Spec
	}
	if ref := metav1.GetControllerOfNoCopy(meta); ref != nil {
		w.Controller = referredWorkload(meta.Namespace, ref)
	}
	return w
}

// referredWorkload is what an owner reference alone tells of a controller.
func referredWorkload(namespace string, ref *metav1.OwnerReference) *Workload {
	return &Workload{
		Group: schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).Group, Kind: ref.Kind,
		Namespace: namespace, Name: ref.Name, UID: ref.UID, Desired: -1, Ready: -1,
	}
}

// controllerRef is the reference to the workload that controls a pod or another
// workload; nil for one that stands alone, and for a static pod, which its Node
// owns and nobody would replace elsewhere.
func controllerRef(m metav1.Object) *metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(m)
	if ref == nil || staticOwner(ref) {
		return nil
	}
	return ref
}

// staticOwner tells whether an owner is the Node of a static pod.
func staticOwner(ref *metav1.OwnerReference) bool {
	return ref.Kind == "Node" && ref.APIVersion == "v1"
}

// Object names the workload for a Finding.
func (w *Workload) Object() Object {
	return Object{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}
}

// Top follows the controllers upwards: the Deployment of a ReplicaSet. A
// controller that controls itself, by way of others, ends the climb.
func (w *Workload) Top() *Workload {
	seen := map[types.UID]bool{}
	for w.Controller != nil && !seen[w.UID] {
		seen[w.UID] = true
		w = w.Controller
	}
	return w
}

// Mirror tells whether the pod is the API's image of a static pod: only its
// kubelet can stop it, and it comes back with its node.
func (p *Pod) Mirror() bool {
	_, ok := p.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// DaemonSet tells whether a DaemonSet controls the pod: it would put it back on its node.
func (p *Pod) DaemonSet() bool {
	return len(p.Controllers) > 0 && p.Controllers[0].Kind == "DaemonSet" && p.Controllers[0].Group == appsv1.GroupName
}

// Owner names what answers for the pod: its topmost controller, or itself.
func (p *Pod) Owner() Object {
	if n := len(p.Controllers); n > 0 {
		return p.Controllers[n-1].Object()
	}
	return Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
}

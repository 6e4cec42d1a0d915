// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// objects are the API objects that a Snapshot is made of, as they were listed.
type objects struct {
	nodes       []*corev1.Node
	pods        []*corev1.Pod
	budgets     []*policyv1.PodDisruptionBudget
	workloads   []*Workload // made of the controllers' objects by workloadOf
	volumes     []*corev1.PersistentVolume
	claims      []*corev1.PersistentVolumeClaim
	attachments []*storagev1.VolumeAttachment
	validating  []*admissionv1.ValidatingWebhookConfiguration
	mutating    []*admissionv1.MutatingWebhookConfiguration
	services    []*corev1.Service
	namespaces  []*corev1.Namespace
	priorities  []*schedulingv1.PriorityClass
}

// add takes obj, which must be of one of the kinds that sources lists.
func (o *objects) add(obj any) error {
	switch obj := obj.(type) {
	case *corev1.Node:
		o.nodes = append(o.nodes, obj)
	case *corev1.Pod:
		o.pods = append(o.pods, obj)
	case *policyv1.PodDisruptionBudget:
		o.budgets = append(o.budgets, obj)
	case *appsv1.Deployment, *appsv1.ReplicaSet, *appsv1.StatefulSet, *appsv1.DaemonSet,
		*batchv1.Job, *corev1.ReplicationController:
		o.workloads = append(o.workloads, workloadOf(obj))
	case *corev1.PersistentVolume:
		o.volumes = append(o.volumes, obj)
	case *corev1.PersistentVolumeClaim:
		o.claims = append(o.claims, obj)
	case *storagev1.VolumeAttachment:
		o.attachments = append(o.attachments, obj)
	case *admissionv1.ValidatingWebhookConfiguration:
		o.validating = append(o.validating, obj)
	case *admissionv1.MutatingWebhookConfiguration:
		o.mutating = append(o.mutating, obj)
	case *corev1.Service:
		o.services = append(o.services, obj)
	case *corev1.Namespace:
		o.namespaces = append(o.namespaces, obj)
	case *schedulingv1.PriorityClass:
		o.priorities = append(o.priorities, obj)
	default:
		return fmt.Errorf("a snapshot has no place for %T", obj)
	}
	return nil
}

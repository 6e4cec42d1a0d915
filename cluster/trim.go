// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

// lastApplied holds a whole copy of the manifest.
const lastApplied = corev1.LastAppliedConfigAnnotation

// trim drops from obj, in place, what nobody here reads and what makes up most
// of an object's size: who changed which field, the manifest in an annotation,
// how containers are started, probed and mounted. What decides where a pod may
// run and whether it is healthy stays: requests, ports, images, volumes,
// selectors, tolerations, conditions, why a container waits. It also keeps
// values of environment variables, which may be secret, out of this process.
//
// It is safe to call twice; objects of other types pass through. It has the form
// of an informer's transform, which hands over objects that are not shared yet.
func trim(obj any) (any, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return obj, nil // a tombstone: its object was trimmed when it was stored
	}
	if m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	if a := m.GetAnnotations(); a[lastApplied] != "" {
		delete(a, lastApplied)
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		trimPodSpec(&o.Spec)
		trimStatuses(o.Status.InitContainerStatuses)
		trimStatuses(o.Status.ContainerStatuses)
		o.Status.EphemeralContainerStatuses = nil
	case *corev1.Node:
		o.Status.Images = nil
	case *appsv1.Deployment:
		trimPodSpec(&o.Spec.Template.Spec)
	case *appsv1.ReplicaSet:
		trimPodSpec(&o.Spec.Template.Spec)
	case *appsv1.StatefulSet:
		trimPodSpec(&o.Spec.Template.Spec)
	case *appsv1.DaemonSet:
		trimPodSpec(&o.Spec.Template.Spec)
	case *batchv1.Job:
		trimPodSpec(&o.Spec.Template.Spec)
	case *corev1.ReplicationController:
		if o.Spec.Template != nil {
			trimPodSpec(&o.Spec.Template.Spec)
		}
	}
	return obj, nil
}

func trimPodSpec(s *corev1.PodSpec) {
	s.EphemeralContainers = nil
	s.DNSConfig, s.HostAliases = nil, nil
	trimContainers(s.InitContainers)
	trimContainers(s.Containers)
}

func trimContainers(containers []corev1.Container) {
	for i := range containers {
		c := &containers[i]
		containers[i] = corev1.Container{
			Name: c.Name, Image: c.Image, Ports: c.Ports,
			Resources: c.Resources, RestartPolicy: c.RestartPolicy, // a sidecar's requests count for the pod's whole life
		}
	}
}

func trimStatuses(statuses []corev1.ContainerStatus) {
	for i := range statuses {
		s := &statuses[i]
		statuses[i] = corev1.ContainerStatus{Name: s.Name, Ready: s.Ready, RestartCount: s.RestartCount, State: s.State}
	}
}

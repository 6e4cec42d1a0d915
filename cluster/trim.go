// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	lastApplied    = corev1.LastAppliedConfigAnnotation // holds a whole copy of the manifest
	longAnnotation = 1024                               // bytes; no annotation that is read here is as long
)

// trim drops from obj, in place, what nobody here reads and what makes up most
// of an object's size: who changed which field, the manifest in an annotation,
// how containers are started (but for the control plane's, whose flags tell what
// it does), probed and mounted. What decides where a pod may run and whether it is
// healthy stays: requests, ports, images, volumes that hold data, selectors,
// tolerations, conditions that are not met, why a container waits. It also keeps the values of environment variables, which may
// be secret, out of the memory of this process.
//
// What was trimmed must never be written back with an update: patch instead.
//
// It is safe to call twice; objects of other types pass through. It has the form
// of an informer's transform, which hands over objects that are not shared yet.
func trim(obj any) (any, error) {
	m, ok := obj.(metav1.Object)
	if !ok {
		return obj, nil // a tombstone: its object was trimmed when it was stored
	}
	if m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	for key, value := range m.GetAnnotations() {
		if key == lastApplied || len(value) > longAnnotation {
			delete(m.GetAnnotations(), key)
		}
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		commands := controlPlaneCommands(o)
		trimPodSpec(&o.Spec)
		for i, c := range commands {
			o.Spec.Containers[i].Command, o.Spec.Containers[i].Args = c.Command, c.Args
		}
		trimPodStatus(&o.Status)
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

// controlPlaneCommands are how the containers of pod are started, by their index,
// that are control plane components: ControlPlaneFlags reads that.
func controlPlaneCommands(pod *corev1.Pod) map[int]corev1.Container {
	if pod.Namespace != metav1.NamespaceSystem {
		return nil
	}
	var commands map[int]corev1.Container
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if _, _, ok := readCommand(c); ok {
			if commands == nil {
				commands = map[int]corev1.Container{}
			}
			commands[i] = corev1.Container{Command: c.Command, Args: c.Args}
		}
	}
	return commands
}

func trimPodSpec(s *corev1.PodSpec) {
	s.EphemeralContainers = nil
	s.SecurityContext, s.DNSConfig, s.HostAliases, s.ImagePullSecrets = nil, nil, nil, nil
	s.InitContainers = trimContainers(s.InitContainers)
	s.Containers = trimContainers(s.Containers)
	s.Volumes = keep(s.Volumes, func(v *corev1.Volume) bool {
		return v.ConfigMap == nil && v.Secret == nil && v.Projected == nil && v.DownwardAPI == nil
	})
}

// trimContainers leaves what scheduling and version checks read. Limits are not
// among that: where a request is missing the limit is it, as the API server
// has it for what went through it.
func trimContainers(containers []corev1.Container) []corev1.Container {
	containers = keep(containers, func(*corev1.Container) bool { return true })
	for i := range containers {
		c := &containers[i]
		for name, limit := range c.Resources.Limits {
			if _, ok := c.Resources.Requests[name]; !ok {
				c.Resources.Requests = maps.Clone(c.Resources.Requests)
				if c.Resources.Requests == nil {
					c.Resources.Requests = corev1.ResourceList{}
				}
				c.Resources.Requests[name] = limit
			}
		}
		containers[i] = corev1.Container{
			Name: c.Name, Image: c.Image, Ports: c.Ports,
			Resources:     corev1.ResourceRequirements{Requests: c.Resources.Requests, Claims: c.Resources.Claims},
			RestartPolicy: c.RestartPolicy, // a sidecar's requests count for the pod's whole life
		}
	}
	return containers
}

func trimPodStatus(s *corev1.PodStatus) {
	s.InitContainerStatuses = trimStatuses(s.InitContainerStatuses)
	s.ContainerStatuses = trimStatuses(s.ContainerStatuses)
	s.EphemeralContainerStatuses = nil
	s.HostIPs, s.PodIPs = nil, nil
	s.Conditions = keep(s.Conditions, func(c *corev1.PodCondition) bool {
		return c.Type == corev1.PodReady || c.Type == corev1.PodScheduled || c.Type == corev1.DisruptionTarget || c.Status != corev1.ConditionTrue
	})
}

func trimStatuses(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	statuses = keep(statuses, func(*corev1.ContainerStatus) bool { return true })
	for i := range statuses {
		s := &statuses[i]
		statuses[i] = corev1.ContainerStatus{Name: s.Name, Ready: s.Ready, RestartCount: s.RestartCount, State: s.State}
	}
	return statuses
}

// keep returns a copy of the elements that ok picks, without the spare room that
// decoding leaves in a slice.
func keep[T any](all []T, ok func(*T) bool) []T {
	n := 0
	for i := range all {
		if ok(&all[i]) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	kept := make([]T, 0, n)
	for i := range all {
		if ok(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	return kept
}

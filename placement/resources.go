// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"

	"refit.dev/refit/cluster"
)

// Resources are amounts of what pods request and nodes have: thousandths of a
// CPU, bytes of memory and of ephemeral storage, a number of pods. Fractions are
// rounded up, as by the scheduler.
type Resources struct {
	MilliCPU, Memory, Ephemeral, Pods int64
	// Extra are the amounts of further resources, in the order of Board.Extra;
	// those that are missing at the end are 0.
	Extra []int64
}

// unlimited is what a node has of what it does not tell: it is not judged by it.
const unlimited = math.MaxInt64 / 4

// What a container counts for in Load that requests nothing: pkg/scheduler/util,
// GetNonzeroRequests' defaults.
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 << 20
)

// weight is what a pod adds to the load of its node.
type weight struct{ milliCPU, memory int64 }

// resourceNames numbers the resources other than the usual ones that pods request.
type resourceNames []corev1.ResourceName

func (n *resourceNames) number(name corev1.ResourceName) int {
	i := slices.Index(*n, name)
	if i < 0 {
		i = len(*n)
		*n = append(*n, name)
	}
	return i
}

// requestsOf are what pod requests, with its place among the pods of the node.
func (n *resourceNames) requestsOf(pod *corev1.Pod) Resources {
	r := Resources{Pods: 1}
	list := resource.PodRequests(pod, resource.PodResourcesOptions{})
	for _, name := range sortedNames(list) {
		quantity := list[name]
		switch name {
		case corev1.ResourceCPU:
			r.MilliCPU = quantity.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = quantity.Value()
		case corev1.ResourceEphemeralStorage:
			r.Ephemeral = quantity.Value()
		case corev1.ResourcePods:
		default:
			if quantity.IsZero() {
				continue
			}
			i := n.number(name)
			for len(r.Extra) <= i {
				r.Extra = append(r.Extra, 0)
			}
			r.Extra[i] = quantity.Value()
		}
	}
	return r
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func weightOf(pod *corev1.Pod) weight {
	list := resource.PodRequests(pod, resource.PodResourcesOptions{NonMissingContainerRequests: corev1.ResourceList{
		corev1.ResourceCPU:    *apiresource.NewMilliQuantity(defaultMilliCPU, apiresource.DecimalSI),
		corev1.ResourceMemory: *apiresource.NewQuantity(defaultMemory, apiresource.DecimalSI),
	}})
	return weight{list.Cpu().MilliValue(), list.Memory().Value()}
}

// allocatableOf is what the node has for pods.
func allocatableOf(node *cluster.Node) Resources {
	list := node.Status.Allocatable
	r := Resources{MilliCPU: unlimited, Memory: unlimited, Ephemeral: unlimited, Pods: unlimited}
	if len(list) == 0 {
		return r
	}
	r.MilliCPU, r.Memory, r.Ephemeral = list.Cpu().MilliValue(), list.Memory().Value(), list.StorageEphemeral().Value()
	if pods, ok := list[corev1.ResourcePods]; ok {
		r.Pods = pods.Value()
	}
	return r
}

func extraOf(node *cluster.Node, name corev1.ResourceName) int64 {
	if len(node.Status.Allocatable) == 0 {
		return unlimited
	}
	quantity := node.Status.Allocatable[name]
	return quantity.Value()
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Phase is where in the order of making objects a kind stands: what others need comes first, what may keep
// others out comes last.
type Phase int

// The phases, in their order.
const (
	Namespaces  Phase = iota // everything else is in them
	Definitions              // custom resources need their definition
	Storage                  // classes, volumes, priorities: what workloads name
	Access                   // accounts and roles, before what runs with them
	Config                   // ConfigMaps, Secrets, quotas, claims, Services: before pods that need them start
	Workloads                // what runs
	Rest                     // custom resources, Ingresses, whatever else
	Gates                    // webhooks, policies, API services: once what they call may be running
)

// String is the name of a phase in a sentence.
func (p Phase) String() string {
	names := [...]string{"namespaces", "definitions of custom resources", "classes and volumes", "accounts and roles",
		"configuration", "workloads", "the rest", "webhooks, policies and API services"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("phase %d", int(p))
}

// PhaseOf is the phase of a kind.
func PhaseOf(group, kind string) Phase {
	switch group {
	case "":
		return corePhase(kind)
	case "apiextensions.k8s.io":
		return Definitions
	case "storage.k8s.io", "scheduling.k8s.io", "node.k8s.io":
		return Storage
	case rbac:
		return Access
	case "policy":
		return Config
	case "apps", "batch", "autoscaling":
		return Workloads
	case "admissionregistration.k8s.io", "apiregistration.k8s.io":
		return Gates
	case "networking.k8s.io":
		switch kind {
		case "IngressClass", "ServiceCIDR":
			return Storage
		case "NetworkPolicy":
			return Config
		}
	}
	return Rest
}

func corePhase(kind string) Phase {
	switch kind {
	case "Namespace":
		return Namespaces
	case "PersistentVolume", "Node":
		return Storage
	case "ServiceAccount":
		return Access
	case "ConfigMap", "Secret", "LimitRange", "ResourceQuota", "PersistentVolumeClaim", "Service", "Endpoints":
		return Config
	case "Pod", "ReplicationController", "PodTemplate":
		return Workloads
	}
	return Rest
}

// Stage are objects that may be made at the same time, once all stages before are.
type Stage struct {
	Phase   Phase
	Objects []*unstructured.Unstructured
}

// Stages puts objects into the order of making them: phase by phase, an owner before what it owns, which
// comes later for it if need be; within a stage by kind, namespace and name. Objects that own
// themselves, by one another, are an error. Every object must be there once.
func Stages(objects []*unstructured.Unstructured) ([]Stage, error) {
	o := orderer{objects: make(map[Key]*unstructured.Unstructured, len(objects)), ranks: map[Key]rank{}}
	for _, u := range objects {
		o.objects[KeyOf(u)] = u
	}
	stages := map[rank]*Stage{}
	for _, u := range objects {
		r, err := o.rank(KeyOf(u), nil)
		if err != nil {
			return nil, err
		}
		if stages[r] == nil {
			stages[r] = &Stage{Phase: r.phase}
		}
		stages[r].Objects = append(stages[r].Objects, u)
	}
	var all []rank
	for r := range stages {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b rank) int { return cmp.Or(cmp.Compare(a.phase, b.phase), cmp.Compare(a.depth, b.depth)) })
	sorted := make([]Stage, len(all))
	for i, r := range all {
		sorted[i] = *stages[r]
		slices.SortFunc(sorted[i].Objects, func(a, b *unstructured.Unstructured) int { return Compare(KeyOf(a), KeyOf(b)) })
	}
	return sorted, nil
}

// Compare sorts by group, kind, namespace and name.
func Compare(a, b Key) int {
	return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// rank is the phase of an object, and how many owners it waits for within.
type rank struct {
	phase Phase
	depth int
}

type orderer struct {
	objects map[Key]*unstructured.Unstructured
	ranks   map[Key]rank
}

// rank is that of an object which is there; below are those whose rank is being looked for.
func (o *orderer) rank(k Key, below []Key) (rank, error) {
	if r, ok := o.ranks[k]; ok {
		return r, nil
	}
	if i := slices.Index(below, k); i >= 0 {
		var names []string
		for _, b := range append(below[i:], k) {
			names = append(names, b.String())
		}
		return rank{}, fmt.Errorf("owner references go in a circle: %s", strings.Join(names, " is owned by "))
	}
	u := o.objects[k]
	r := rank{phase: PhaseOf(k.Group, k.Kind)}
	for _, owner := range Owners(u) {
		for _, by := range OwnerKeys(u, owner) {
			if o.objects[by] == nil {
				continue
			}
			of, err := o.rank(by, append(slices.Clip(below), k))
			if err != nil {
				return rank{}, err
			}
			if after := (rank{of.phase, of.depth + 1}); after.phase > r.phase || after.phase == r.phase && after.depth > r.depth {
				r = after
			}
			break
		}
	}
	o.ranks[k] = r
	return r, nil
}

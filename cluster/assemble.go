// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// assemble ties objects together into a Snapshot. It is the only place where
// that happens, whether the objects came from lists, from informers or from a
// file. It keeps pointers to the objects and changes none of them.
func assemble(now time.Time, o *objects, unread []Finding) *Snapshot {
	s := &Snapshot{
		Time:            now,
		Namespaces:      make(map[string]labels.Set, len(o.namespaces)),
		PriorityClasses: make(map[string]int32, len(o.priorities)),
		Unread:          slices.Clone(unread),
		nodes:           make(map[string]*Node, len(o.nodes)),
		podUID:          make(map[types.UID]*Pod, len(o.pods)),
	}
	SortFindings(s.Unread)
	for _, ns := range o.namespaces {
		s.Namespaces[ns.Name] = ns.Labels
	}
	for _, pc := range o.priorities {
		s.PriorityClasses[pc.Name] = pc.Value
	}
	addNodes(s, o)
	volumes := addVolumes(s, o)
	spaces := addPods(s, o, volumes)
	addWorkloads(s, o)
	addBudgets(s, o, spaces)
	addWebhooks(s, o)
	return s
}

func addNodes(s *Snapshot, o *objects) {
	for _, n := range o.nodes {
		node := &Node{Node: n}
		s.Nodes = append(s.Nodes, node)
		s.nodes[n.Name] = node
	}
	slices.SortFunc(s.Nodes, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
}

// addPods comes after nodes and volumes: sorted pods make sorted lists of pods
// everywhere. It returns them by namespace. In a large cluster this is most of
// the work, so they are sorted one namespace after the other: comparing names is
// then all that there is to compare.
func addPods(s *Snapshot, o *objects, volumes claimIndex) map[string]*space {
	spaces := map[string]*space{}
	made := make([]Pod, len(o.pods)) // at once: they live and die together
	var last *space                  // lists are mostly in order
	for i, p := range o.pods {
		made[i] = Pod{Pod: p, Host: s.nodes[p.Spec.NodeName], Volumes: volumes.of(p)}
		if last == nil || last.name != p.Namespace {
			if last = spaces[p.Namespace]; last == nil {
				last = &space{name: p.Namespace}
				spaces[p.Namespace] = last
			}
		}
		last.pods = append(last.pods, &made[i])
	}
	s.Pods = make([]*Pod, 0, len(o.pods))
	for _, name := range slices.Sorted(maps.Keys(spaces)) {
		pods := spaces[name].pods
		slices.SortFunc(pods, func(a, b *Pod) int { return cmp.Compare(a.Name, b.Name) })
		s.Pods = append(s.Pods, pods...)
	}
	for _, p := range s.Pods {
		s.podUID[p.UID] = p
		if p.Host != nil {
			p.Host.Pods = append(p.Host.Pods, p)
		}
	}
	return spaces
}

func addWorkloads(s *Snapshot, o *objects) {
	byUID := make(map[types.UID]*Workload, len(o.workloads))
	add := func(w *Workload) *Workload {
		byUID[w.UID] = w
		s.Workloads = append(s.Workloads, w)
		return w
	}
	for _, w := range o.workloads {
		copied := *w // workloads made from a cache are shared
		add(&copied)
	}
	resolve := func(w *Workload) *Workload {
		if known := byUID[w.UID]; known != nil {
			return known
		}
		return add(w)
	}
	for _, w := range slices.Clone(s.Workloads) {
		if w.Controller != nil {
			w.Controller = resolve(w.Controller)
		}
	}
	chains := map[types.UID][]*Workload{} // by the nearest one; its pods share it
	for _, p := range s.Pods {
		ref := controllerRef(p.Pod)
		if ref == nil {
			continue
		}
		chain, known := chains[ref.UID]
		if !known {
			for w := resolve(referredWorkload(p.Namespace, ref)); w != nil && !slices.Contains(chain, w); w = w.Controller {
				chain = append(chain, w)
			}
			chain = slices.Clip(chain)
			chains[ref.UID] = chain
		}
		p.Controllers = chain
		for _, w := range chain {
			w.Pods = append(w.Pods, p)
		}
	}
	slices.SortFunc(s.Workloads, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UID, b.UID))
	})
}

// BudgetSelector is the selector of pdb as the API server reads it in policy/v1:
// an empty one matches every pod of the namespace, none at all and one that is
// invalid match no pod (getPodDisruptionBudgets in
// pkg/registry/core/pod/storage/eviction.go of Kubernetes).
func BudgetSelector(pdb *policyv1.PodDisruptionBudget) labels.Selector {
	return selectorOr(pdb.Spec.Selector, labels.Nothing())
}

// selectorOr reads a label selector; a missing one is absent, an invalid one matches nothing.
func selectorOr(s *metav1.LabelSelector, absent labels.Selector) labels.Selector {
	if s == nil {
		return absent
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// compareMeta orders by namespace, then name.
func compareMeta(a, b metav1.Object) int {
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

// ClaimNames are the claims that pod uses, those of its generic ephemeral volumes
// included, which are named after the pod and the volume.
func ClaimNames(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, pod.Name+"-"+v.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

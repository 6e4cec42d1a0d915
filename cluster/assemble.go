// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
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
		pods:            make(map[types.NamespacedName]*Pod, len(o.pods)),
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
	addPods(s, o, volumes)
	addWorkloads(s, o)
	addBudgets(s, o)
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

// addPods comes after nodes and volumes: sorted pods make sorted lists of pods everywhere.
func addPods(s *Snapshot, o *objects, volumes claimIndex) {
	s.Pods = make([]*Pod, 0, len(o.pods))
	for _, p := range o.pods {
		s.Pods = append(s.Pods, &Pod{Pod: p, Host: s.nodes[p.Spec.NodeName], Volumes: volumes.of(p)})
	}
	slices.SortFunc(s.Pods, func(a, b *Pod) int { return compareMeta(a.Pod, b.Pod) })
	for _, p := range s.Pods {
		s.pods[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p
		s.podUID[p.UID] = p
		if p.Host != nil {
			p.Host.Pods = append(p.Host.Pods, p)
		}
	}
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
	for _, p := range s.Pods {
		ref := controllerRef(p.Pod)
		if ref == nil {
			continue
		}
		for w := resolve(referredWorkload(p.Namespace, ref)); w != nil && !slices.Contains(p.Controllers, w); w = w.Controller {
			p.Controllers = append(p.Controllers, w)
			w.Pods = append(w.Pods, p)
		}
	}
	slices.SortFunc(s.Workloads, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UID, b.UID))
	})
}

// addBudgets comes after pods.
func addBudgets(s *Snapshot, o *objects) {
	pods := map[string][]*Pod{}
	for _, p := range s.Pods {
		pods[p.Namespace] = append(pods[p.Namespace], p)
	}
	for _, pdb := range o.budgets {
		s.Budgets = append(s.Budgets, &Budget{PodDisruptionBudget: pdb})
	}
	slices.SortFunc(s.Budgets, func(a, b *Budget) int { return compareMeta(a.PodDisruptionBudget, b.PodDisruptionBudget) })
	for _, b := range s.Budgets {
		selector := budgetSelector(b.PodDisruptionBudget)
		for _, p := range pods[b.Namespace] {
			if selector.Matches(labels.Set(p.Labels)) {
				b.Pods = append(b.Pods, p)
				p.Budgets = append(p.Budgets, b)
			}
		}
	}
}

// budgetSelector is the selector of pdb as the API server reads it in policy/v1:
// an empty one matches every pod of the namespace, none at all and one that is
// invalid match no pod (getPodDisruptionBudgets in
// pkg/registry/core/pod/storage/eviction.go of Kubernetes).
func budgetSelector(pdb *policyv1.PodDisruptionBudget) labels.Selector {
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

// claimNames are the claims that pod uses, those of its generic ephemeral volumes
// included, which are named after the pod and the volume.
func claimNames(pod *corev1.Pod) []string {
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

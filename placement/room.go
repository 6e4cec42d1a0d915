// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// Room is a Snapshot prepared for many questions. It may be used by one
// goroutine at a time.
type Room struct {
	s *cluster.Snapshot
	// pods are those that the scheduler counts: bound to a node and not finished.
	pods map[string][]*cluster.Pod // by namespace
	// repelling are the terms of their required anti-affinity: those that name
	// namespaces by namespace, and those that find them by label.
	repelling map[string][]repulsion
	anywhere  []repulsion
	// requests of each of those pods, and what all pods on a node request together.
	requests map[types.UID]corev1.ResourceList
	used     map[string]corev1.ResourceList
	counts   map[string]int64
	// last is what was counted for the pod before this one.
	last counted
	// selectors caches parsed selectors.
	selectors selectors
}

// New prepares the snapshot.
func New(s *cluster.Snapshot) *Room {
	r := &Room{
		s:         s,
		pods:      map[string][]*cluster.Pod{},
		repelling: map[string][]repulsion{},
		requests:  map[types.UID]corev1.ResourceList{},
		used:      map[string]corev1.ResourceList{},
		counts:    map[string]int64{},
	}
	for _, p := range s.Pods {
		if p.Host == nil || budget.Finished(p.Pod) {
			continue
		}
		r.pods[p.Namespace] = append(r.pods[p.Namespace], p)
		r.addRepulsion(p)
		requests := resource.PodRequests(p.Pod, resource.PodResourcesOptions{})
		r.requests[p.UID] = requests
		used := r.used[p.Host.Name]
		if used == nil {
			used = corev1.ResourceList{}
			r.used[p.Host.Name] = used
		}
		for name, quantity := range requests {
			sum := used[name]
			sum.Add(quantity)
			used[name] = sum
		}
		r.counts[p.Host.Name]++
	}
	return r
}

// Fits returns why the replacement of pod would not be placed on node: nothing
// if it would. The pod itself counts as gone. Reasons are sorted and speak of
// the node, so that those of many nodes can be counted.
func (r *Room) Fits(pod *corev1.Pod, node *cluster.Node) []string {
	return r.ask(pod).fits(node)
}

// Anywhere returns the first node by name that the replacement of pod fits on,
// those of the names in without left out. If there is none it returns "" and why,
// the reason that holds for most nodes first, each with the number of nodes.
func (r *Room) Anywhere(pod *corev1.Pod, without []string) (node string, reasons []string) {
	q := r.ask(pod)
	counts := map[string]int{}
	others := 0
	for _, n := range r.s.Nodes {
		if slices.Contains(without, n.Name) {
			continue
		}
		others++
		why := q.fits(n)
		if len(why) == 0 {
			return n.Name, nil
		}
		for _, reason := range why {
			counts[reason]++
		}
	}
	if others == 0 {
		return "", []string{"there is no other node"}
	}
	for reason := range counts {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	for i, reason := range reasons {
		reasons[i] = phrase.Count(counts[reason], "node") + ": " + reason
	}
	return "", reasons
}

// Fits is Room.Fits for a single question.
func Fits(s *cluster.Snapshot, pod *corev1.Pod, node *cluster.Node) []string {
	return New(s).Fits(pod, node)
}

// Anywhere is Room.Anywhere for a single question.
func Anywhere(s *cluster.Snapshot, pod *corev1.Pod, without []string) (node string, reasons []string) {
	return New(s).Anywhere(pod, without)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/cluster"
)

// Class is a set of pods that the filters cannot tell apart: of one namespace,
// with the same requests, ports, node selection, tolerations, affinity, spread
// and nodes that their volumes can be used on, and with the same values of those
// labels that any selector in use looks at.
//
// Pods of a class that are being deleted are a class of their own, see
// Class.Leaving.
type Class int32

// Leaving is the class of those pods of c that are being deleted. They hold their
// room, ports and affinities against others until they are gone, but topology
// spread no longer counts them. What would replace them is asked about with c.
func (c Class) Leaving() Class { return c | 1 }

// Staying is the class of those pods of c that are not being deleted.
func (c Class) Staying() Class { return c &^ 1 }

// class is what there is to know about a Class, in terms of nodes, tallies and amounts.
type class struct {
	namespace string
	labels    labels.Set // of the pod that was first
	requests  Resources
	weight    weight
	ports     []hostPort
	where     nodeSet    // by everything but passing taints
	tolerance *tolerance // for those

	forbid    []int32 // tallies that must be 0 where the pod goes
	need      []int32 // tallies that must not
	needsSelf bool    // the pod itself is one that it needs, so that it may be the first
	spread    []rule

	// Tallies that a pod of the class counts for where it runs, and those that
	// it only counts for while it is not being deleted.
	counts, countsStaying []int32
}

// rule is a topology spread constraint of a class.
type rule struct {
	tally               int32
	self                int32 // 1 if the pod is one of those that are spread
	maxSkew, minDomains int32
}

func (t *tables) class(p *cluster.Pod) Class {
	t.key.pod(p, func(key string) bool { return t.looked[key] })
	c, known := t.classOf[string(t.key.bytes)]
	if !known {
		c = Class(len(t.classes) << 1) //nolint:gosec // at most two for each pod
		t.classOf[string(t.key.bytes)] = c
		t.classes = append(t.classes, t.describe(p))
	}
	return c
}

// describe makes the class of which p is the first pod; link ties it to the others.
func (t *tables) describe(p *cluster.Pod) *class {
	c := &class{
		namespace: p.Namespace, labels: p.Labels,
		requests: t.extra.requestsOf(p.Pod), weight: weightOf(p.Pod), ports: hostPorts(p.Pod),
		tolerance: t.tolerancesOf(p.Pod),
	}
	selected := t.selectedBy(p.Pod)
	c.where = t.placesOf(p, selected, c.tolerance)
	t.addAffinity(c, p.Pod)
	t.addSpread(c, p.Pod, selected)
	return c
}

// cached returns what make made for the same bytes before.
func cached[T any](known map[string]T, bytes []byte, make func() T) T {
	x, ok := known[string(bytes)]
	if !ok {
		x = make()
		known[string(bytes)] = x
	}
	return x
}

// part writes a part of a key that is needed by itself.
func part(write func(*key)) []byte {
	var k key
	write(&k)
	return k.bytes
}

func (t *tables) selectedBy(pod *corev1.Pod) nodeSet {
	return cached(t.selections, part(func(k *key) { k.nodeSelection(pod) }), func() nodeSet { return t.selected(pod) })
}

func (t *tables) tolerancesOf(pod *corev1.Pod) *tolerance {
	return cached(t.tolerances, part(func(k *key) { k.tolerations(pod.Spec.Tolerations) }), func() *tolerance { return t.tolerated(pod.Spec.Tolerations) })
}

// placesOf joins everything that ties a pod to nodes for good.
func (t *tables) placesOf(p *cluster.Pod, selected nodeSet, tolerance *tolerance) nodeSet {
	bytes := part(func(k *key) {
		k.nodeSelection(p.Pod)
		k.tolerations(p.Spec.Tolerations)
		k.volumes(p.Volumes)
		k.text(pinnedTo(p))
	})
	return cached(t.places, bytes, func() nodeSet {
		set := append(nodeSet{}, selected...)
		set.keep(tolerance.nodes)
		set.keep(cached(t.volumes, part(func(k *key) { k.volumes(p.Volumes) }), func() nodeSet { return t.usable(p.Volumes) }))
		if name := pinnedTo(p); name != "" {
			only := newNodeSet(len(t.nodes))
			if node, ok := t.byName[name]; ok {
				only.add(int(node))
			}
			set.keep(only)
		}
		return set
	})
}

func (t *tables) addAffinity(c *class, pod *corev1.Pod) {
	a := pod.Spec.Affinity
	if a == nil {
		return
	}
	if a.PodAntiAffinity != nil {
		for _, x := range t.selectors.terms(pod.Namespace, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) {
			c.forbid = append(c.forbid, t.matched([]term{x}, x.topology))
			c.counts = append(c.counts, t.holding(x))
		}
	}
	if a.PodAffinity != nil {
		terms := t.selectors.terms(pod.Namespace, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		for i := range terms {
			c.need = append(c.need, t.matched(terms, terms[i].topology))
		}
		c.needsSelf = matchAll(terms, t.snapshot, c)
	}
}

func (t *tables) addSpread(c *class, pod *corev1.Pod, selected nodeSet) {
	hard := hardSpread(pod)
	for _, constraint := range hard {
		x := rule{maxSkew: constraint.MaxSkew, minDomains: 1}
		if constraint.MinDomains != nil {
			x.minDomains = *constraint.MinDomains
		}
		selector := t.selectors.spread(pod, constraint)
		if selector.Matches(c.labels) {
			x.self = 1
		}
		x.tally = t.spreadBy(pod, constraint, selector, t.reach(pod, constraint, hard, selected, c.tolerance))
		c.spread = append(c.spread, x)
	}
}

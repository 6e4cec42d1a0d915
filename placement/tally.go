// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// topology is a label by which nodes are parted into domains.
type topology struct {
	domainOf []int32 // by node; -1 for a node without the label
	domains  int
	// sparse is the first of the topology's lists in a Board if it has so many
	// domains that counters are listed by domain; -1 if there is one for each.
	sparse int
}

// tally is a kind of pods that is counted by domain.
type tally struct {
	terms    []term // all of which the pods match,
	holding  bool   // or the only one, which is one of their anti-affinity
	topology int32
	reach    int32 // for topology spread: only pods on these nodes count; -1 for all
	dense    int   // the first of its counters in a Board, if its topology is not sparse
	level    int   // its place among those of topology spread; -1 if it is not one
}

// reach are the nodes on which pods count for a topology spread constraint.
type reach struct {
	topology int32
	nodes    nodeSet
	honours  *tolerance // taints that come and go take nodes out of reach if it is not nil
	tallies  []int32
}

// tallies are all that classes ask for or count for.
type tallies struct {
	denseUpTo  int // so many domains have a counter each
	topologies []topology
	topologyOf map[string]int32
	kinds      []tally
	tallyOf    map[string]int32
	reaches    []reach
	reachOf    map[string]int32
	honouring  []int32 // the reaches that change with taints
	// A class can match only tallies that hang on one of its labels, or on none.
	hangingOn map[hook][]int32
	// So many classes and tallies have been matched with each other.
	linkedClasses, linkedTallies int

	counters, lists, levels int // the numbers of each in a Board
}

// hook is a label that a tally asks for, with the namespace unless that may be
// any; without a key if it does not ask for a certain label.
type hook struct {
	anywhere              bool
	namespace, key, value string
}

func newTallies(denseUpTo int) tallies {
	return tallies{
		denseUpTo: denseUpTo, topologyOf: map[string]int32{}, tallyOf: map[string]int32{}, reachOf: map[string]int32{}, hangingOn: map[hook][]int32{},
	}
}

func (t *tables) topology(key string) int32 {
	if i, ok := t.topologyOf[key]; ok {
		return i
	}
	x := topology{domainOf: make([]int32, len(t.nodes)), sparse: -1}
	domains := map[string]int32{}
	for i, n := range t.nodes {
		x.domainOf[i] = -1
		if value, ok := n.Labels[key]; ok {
			domain, known := domains[value]
			if !known {
				domain = int32(len(domains)) //nolint:gosec // at most the number of nodes
				domains[value] = domain
			}
			x.domainOf[i] = domain
		}
	}
	if x.domains = len(domains); x.domains > t.denseUpTo {
		x.sparse = t.lists
		t.lists += x.domains
	}
	i := int32(len(t.topologies)) //nolint:gosec // a number of label keys
	t.topologies = append(t.topologies, x)
	t.topologyOf[key] = i
	return i
}

// matched is the tally of pods that match all the terms.
func (t *tables) matched(terms []term, topology string) int32 {
	return t.tally(tally{terms: terms, topology: t.topology(topology), reach: -1, level: -1}, 'm')
}

// holding is the tally of pods that have the term in their anti-affinity.
func (t *tables) holding(x term) int32 {
	return t.tally(tally{terms: []term{x}, holding: true, topology: t.topology(x.topology), reach: -1, level: -1}, 'h')
}

// spreadBy is the tally of a topology spread constraint.
func (t *tables) spreadBy(pod *corev1.Pod, c *corev1.TopologySpreadConstraint, selector labels.Selector, reach int32) int32 {
	if selector.Empty() {
		selector = labels.Nothing() // an empty selector counts nobody
	}
	x := term{selector: selector, namespaces: []string{pod.Namespace}}
	before := len(t.kinds)
	i := t.tally(tally{terms: []term{x}, topology: t.topology(c.TopologyKey), reach: reach, level: t.levels}, 's')
	if len(t.kinds) > before {
		t.levels++
		t.reaches[reach].tallies = append(t.reaches[reach].tallies, i)
	}
	return i
}

// tally returns the number of a tally, which is new if there is none of its kind.
func (t *tables) tally(x tally, kind rune) int32 {
	written := string(part(func(k *key) {
		k.number(int64(kind))
		k.number(int64(x.topology))
		k.number(int64(x.reach))
		for i := range x.terms {
			x.terms[i].written(k)
		}
	}))
	if i, ok := t.tallyOf[written]; ok {
		return i
	}
	i := int32(len(t.kinds)) //nolint:gosec // a few for each class
	if topology := &t.topologies[x.topology]; topology.sparse < 0 {
		x.dense = t.counters
		t.counters += topology.domains
	}
	t.kinds = append(t.kinds, x)
	t.tallyOf[written] = i
	for _, h := range x.terms[0].hooks() {
		t.hangingOn[h] = append(t.hangingOn[h], i)
	}
	return i
}

// reach are the nodes that count for c, one of all the constraints of pod, as in Room.countsFor.
func (t *tables) reach(pod *corev1.Pod, c *corev1.TopologySpreadConstraint, all []*corev1.TopologySpreadConstraint, selected nodeSet, tolerance *tolerance) int32 {
	byAffinity := ptr.Deref(c.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor) == corev1.NodeInclusionPolicyHonor
	byTaints := ptr.Deref(c.NodeTaintsPolicy, corev1.NodeInclusionPolicyIgnore) == corev1.NodeInclusionPolicyHonor
	keys := make([]string, 0, len(all))
	for _, other := range all {
		keys = append(keys, other.TopologyKey)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	written := part(func(k *key) {
		k.text(c.TopologyKey)
		k.texts(keys)
		if byAffinity {
			k.nodeSelection(pod)
		}
		k.number(-2)
		if byTaints {
			k.tolerations(pod.Spec.Tolerations)
		}
	})
	if i, ok := t.reachOf[string(written)]; ok {
		return i
	}
	x := reach{topology: t.topology(c.TopologyKey), nodes: t.everywhere()}
	for _, key := range keys {
		domainOf := t.topologies[t.topology(key)].domainOf
		x.nodes.keep(t.where(func(node int) bool { return domainOf[node] >= 0 }))
	}
	if byAffinity {
		x.nodes.keep(selected)
	}
	if byTaints {
		x.honours = tolerance
		x.nodes.keep(tolerance.nodes)
	}
	i := int32(len(t.reaches)) //nolint:gosec // at most one for each constraint
	t.reaches = append(t.reaches, x)
	if byTaints {
		t.honouring = append(t.honouring, i)
	}
	t.reachOf[string(written)] = i
	return i
}

// link matches classes and tallies that have not met.
func (t *tables) link() {
	for _, c := range t.classes[t.linkedClasses:] {
		for _, i := range t.hangingOnLabelsOf(c) {
			t.meet(c, i)
		}
	}
	for i := t.linkedTallies; i < len(t.kinds); i++ {
		for _, c := range t.classes[:t.linkedClasses] {
			t.meet(c, int32(i)) //nolint:gosec // see tally
		}
	}
	t.linkedClasses, t.linkedTallies = len(t.classes), len(t.kinds)
}

func (t *tables) hangingOnLabelsOf(c *class) []int32 {
	var found []int32
	for _, h := range []hook{{namespace: c.namespace}, {anywhere: true}} {
		found = append(found, t.hangingOn[h]...)
		for h.key, h.value = range c.labels {
			found = append(found, t.hangingOn[h]...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// meet adds to a class what a tally means to it.
func (t *tables) meet(c *class, i int32) {
	switch x := &t.kinds[i]; {
	case !matchAll(x.terms, t.snapshot, c):
	case x.holding:
		c.forbid = append(c.forbid, i)
	case x.level >= 0:
		c.countsStaying = append(c.countsStaying, i)
	default:
		c.counts = append(c.counts, i)
	}
}

func matchAll(terms []term, s *cluster.Snapshot, c *class) bool {
	for i := range terms {
		if !terms[i].matches(s, c.namespace, c.labels) {
			return false
		}
	}
	return true
}

// hooks are what a tally of pods that match t, among others, hangs on. None of
// the labels of a pod matches nothing.
func (t *term) hooks() []hook {
	requirements, selectable := t.selector.Requirements()
	if !selectable {
		return nil
	}
	hooks := make([]hook, 0, len(t.namespaces))
	if t.byLabels != nil {
		hooks = append(hooks, hook{anywhere: true})
	} else {
		for _, namespace := range slices.Compact(slices.Sorted(slices.Values(t.namespaces))) {
			hooks = append(hooks, hook{namespace: namespace})
		}
	}
	for i := range requirements {
		r := &requirements[i]
		if operator := r.Operator(); operator != selection.In && operator != selection.Equals && operator != selection.DoubleEquals {
			continue
		}
		var narrow []hook
		for _, h := range hooks {
			for value := range r.Values() {
				h.key, h.value = r.Key(), value
				narrow = append(narrow, h)
			}
		}
		return narrow
	}
	return hooks
}

// written is the same for terms that match the same pods; their topology is left out.
func (t *term) written(k *key) {
	k.texts(slices.Compact(slices.Sorted(slices.Values(t.namespaces))))
	for _, s := range []labels.Selector{t.selector, t.byLabels} {
		switch {
		case s == nil:
			k.number(-1)
		case labels.MatchesNothing(s):
			k.number(-2)
		default:
			k.text(s.String())
		}
	}
}

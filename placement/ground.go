// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"refit.dev/refit/cluster"
)

// nodeSet is a set of nodes, by their numbers.
type nodeSet []uint64

func newNodeSet(nodes int) nodeSet { return make(nodeSet, (nodes+63)/64) }

func (s nodeSet) has(node int) bool { return s[node>>6]&(1<<(node&63)) != 0 }
func (s nodeSet) add(node int)      { s[node>>6] |= 1 << (node & 63) }

// keep removes the nodes that are not in the other set.
func (s nodeSet) keep(other nodeSet) {
	for i := range s {
		s[i] &= other[i]
	}
}

// ground is what is known about the nodes by their labels and names.
type ground struct {
	nodes []*cluster.Node
	// byLabel are the nodes by key and value of a label, read key by key when
	// somebody asks: most labels are never asked for.
	byLabel map[string]map[string][]int32
	all     []int32
	byName  map[string]int32
}

func newGround(nodes []*cluster.Node) ground {
	g := ground{nodes: slices.Clone(nodes), byLabel: map[string]map[string][]int32{}, all: make([]int32, 0, len(nodes)), byName: make(map[string]int32, len(nodes))}
	for i, n := range nodes {
		g.all = append(g.all, int32(i)) //nolint:gosec // a number of nodes
		g.byName[n.Name] = int32(i)     //nolint:gosec // a number of nodes
	}
	return g
}

// having are the nodes by their value of a label.
func (g *ground) having(key string) map[string][]int32 {
	values, read := g.byLabel[key]
	if !read {
		values = map[string][]int32{}
		for _, i := range g.all {
			if value, ok := g.nodes[i].Labels[key]; ok {
				values[value] = append(values[value], i)
			}
		}
		g.byLabel[key] = values
	}
	return values
}

// selected are the nodes that the pod's node selector and required node affinity
// let it onto. Nodes that cannot be among them are not looked at.
func (g *ground) selected(pod *corev1.Pod) nodeSet {
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	among := g.all
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		among = g.candidates(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	for key, value := range pod.Spec.NodeSelector {
		if having := g.having(key)[value]; len(having) < len(among) {
			among = having
		}
	}
	return g.filter(among, affinity.Match)
}

// usable are the nodes that all the volumes can be used on.
func (g *ground) usable(volumes []*cluster.Volume) nodeSet {
	set := g.everywhere()
	for _, v := range volumes {
		if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
			continue
		}
		required := v.Spec.NodeAffinity.Required
		set.keep(g.filter(g.candidates(required), nodeaffinity.NewLazyErrorNodeSelector(required).Match))
	}
	return set
}

func (g *ground) everywhere() nodeSet { return g.where(func(int) bool { return true }) }

func (g *ground) where(is func(node int) bool) nodeSet {
	set := newNodeSet(len(g.nodes))
	for i := range g.nodes {
		if is(i) {
			set.add(i)
		}
	}
	return set
}

func (g *ground) filter(among []int32, matches func(*corev1.Node) (bool, error)) nodeSet {
	set := newNodeSet(len(g.nodes))
	for _, i := range among {
		if ok, err := matches(g.nodes[i].Node); ok && err == nil {
			set.add(int(i))
		}
	}
	return set
}

// candidates are nodes of which none is missing that the selector matches.
func (g *ground) candidates(selector *corev1.NodeSelector) []int32 {
	var union []int32
	for i := range selector.NodeSelectorTerms {
		some := g.candidatesOf(&selector.NodeSelectorTerms[i])
		if len(some) == len(g.nodes) {
			return g.all
		}
		union = append(union, some...)
	}
	return union
}

// candidatesOf uses the narrowest requirement of the kind In: all of a term must hold.
func (g *ground) candidatesOf(t *corev1.NodeSelectorTerm) []int32 {
	if len(t.MatchExpressions) == 0 && len(t.MatchFields) == 0 {
		return nil // matches nothing
	}
	found := g.all
	narrow := func(some []int32) {
		if len(some) < len(found) {
			found = some
		}
	}
	for i := range t.MatchExpressions {
		if r := &t.MatchExpressions[i]; r.Operator == corev1.NodeSelectorOpIn {
			having := g.having(r.Key)
			var some []int32
			for _, value := range r.Values {
				some = append(some, having[value]...)
			}
			narrow(some)
		}
	}
	for i := range t.MatchFields {
		r := &t.MatchFields[i]
		if r.Operator != corev1.NodeSelectorOpIn || r.Key != metav1.ObjectNameField {
			continue
		}
		var some []int32
		for _, name := range slices.Compact(slices.Sorted(slices.Values(r.Values))) {
			if node, ok := g.byName[name]; ok {
				some = append(some, node)
			}
		}
		narrow(some)
	}
	return found
}

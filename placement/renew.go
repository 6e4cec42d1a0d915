// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"refit.dev/refit/cluster"
)

// Renew takes over what comes and goes of a node: whether it is cordoned, and
// Ready. Afterwards it is as if the board had been made with the node as it is
// now. It returns false, and nothing has changed, if the node differs in what a
// board takes for lasting: its labels, what it has for pods, and taints other than
// those that come and go with maintenance (soft ones are no filter). A new board is in
// place then.
//
// Like Class it changes what the board and its clones share.
func (b *Board) Renew(node int, now *corev1.Node) bool {
	b.catchUp()
	t := b.shared
	was, renewed := t.nodes[node].Node, &cluster.Node{Node: now}
	lasting, passing := partTaints(renewed)
	if !maps.Equal(was.Labels, now.Labels) || !slices.Equal(t.lasting[t.lastingOf[node]], lasting) || !sameAmounts(was.Status.Allocatable, now.Status.Allocatable) {
		return false
	}
	t.nodes[node] = renewed
	b.setPassing(node, t.passingList(passing))
	return true
}

// passingList is the number of a list of taints that come and go, which may be new.
func (t *tables) passingList(list []corev1.Taint) int32 {
	before := len(t.passing)
	i := number(&t.passing, list)
	if len(t.passing) > before {
		t.addCordons()
		for _, x := range t.tolerances {
			x.catchUp(&t.taintLists)
		}
	}
	return i
}

func sameAmounts(a, b corev1.ResourceList) bool {
	return maps.EqualFunc(a, b, func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 })
}

// Forget lets go of the pods of the snapshot that the board was made of, so that
// who keeps a board up to date does not keep them for ever. Class then computes
// what it knew of them. It changes what the board and its clones share.
func (b *Board) Forget() {
	t := b.shared
	for i, n := range t.nodes {
		t.nodes[i] = &cluster.Node{Node: n.Node}
	}
	t.snapshot = &cluster.Snapshot{Namespaces: t.snapshot.Namespaces}
	t.pods, t.selectors = nil, nil
}

// Classes is how many classes of pods there have been on the board, or were asked about.
func (b *Board) Classes() int { return len(b.shared.classes) }

// LooksAtNamespaces tells whether the affinity of any pod finds namespaces by
// their labels. Otherwise those of the snapshot do not matter.
func (b *Board) LooksAtNamespaces() bool {
	return slices.ContainsFunc(b.shared.kinds, func(x tally) bool {
		return slices.ContainsFunc(x.terms, func(t term) bool { return t.byLabels != nil })
	})
}

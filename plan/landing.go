// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import "refit.dev/refit/placement"

// landing finds places for pods as the scheduler is expected to: first on nodes
// that will not be maintained any more, which have no soft taint, then on those
// that still will be; of several, on the emptiest.
type landing struct {
	// tier of each node: closed nodes take no pods.
	tier []tier
	// nodes of each tier.
	nodes [2]*placement.Emptiest
}

type tier int8

const (
	settled tier = iota // done, or not to be maintained
	due                 // to be maintained yet
	closed
)

func newLanding(w *World, s *State) *landing {
	l := &landing{tier: make([]tier, len(w.nodes))}
	for i := range w.nodes {
		l.tier[i] = tierOf(s, i)
	}
	l.sort(w)
	return l
}

// sort takes the nodes of each tier up.
func (l *landing) sort(w *World) {
	for t := range l.nodes {
		l.nodes[t] = placement.NewEmptiest(w.board, func(node int) bool { return l.tier[node] == tier(t) })
	}
}

func tierOf(s *State, node int) tier {
	switch {
	case s.Out[node] || s.Stage[node] == Leaving:
		return closed
	case s.Stage[node] == Waiting:
		return due
	}
	return settled
}

// find returns the node that a pod of the class is expected on, and whether that
// one is still to be maintained; nowhere if it fits on none.
func (l *landing) find(c placement.Class) (node int, again bool) {
	for t, nodes := range l.nodes {
		if at := nodes.Find(c); at >= 0 {
			return at, tier(t) == due
		}
	}
	return nowhere, false
}

// emptier is told when a pod was taken from a node. (One that became fuller is
// moved when it comes up.)
func (l *landing) emptier(node int) {
	if t := l.tier[node]; t != closed {
		l.nodes[t].Emptier(node)
	}
}

// set changes the tier of a node: closed when it takes no more pods, due when it
// is still to be maintained, settled when it will not be any more.
func (l *landing) set(node int, t tier) {
	was := l.tier[node]
	if was == t {
		return
	}
	l.tier[node] = t
	if was != closed {
		l.nodes[was].Remove(node)
	}
	if t != closed {
		l.nodes[t].Add(node)
	}
}

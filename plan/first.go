// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"math"
	"slices"
)

// This is the part of a decision about nodes that go whether or not there is room for
// their pods: the first of a run, and the one for which no other node can make room.
//
// Some of those hold themselves up: a pod finds no place, and others of the node have
// to wait at its budget until it does. The place may never come, for the node that is
// emptied is often the one that has the room: under topology spread, or where a volume
// ties the pod to a zone. A node that does not hold itself up comes before one that
// does, even if more pods move, or have to move again.

// first is the node that goes first, alone, of those that nothing but room keeps from
// being started: the first of the order that does not hold itself up; if there is
// none, the first. No control-plane node is preferred to a worker. -1 if nothing can be started.
func (l *ledger) first(in *Intent, order []int, ask demand, s *State, t *tally) int {
	first, trials := -1, 0
	for _, n := range order {
		if first >= 0 && l.workersFirst(first, n) < 0 || !l.startable(in, ask, s, t, n) {
			continue
		}
		if l.flows(s, n) {
			return n
		}
		if first < 0 {
			first = n
		}
		if trials++; trials == trialLimit {
			break
		}
	}
	return first
}

// gentlest is the node that makes the fewest pods move, of those that nothing but room
// keeps from being started and that do not hold themselves up: workers before
// control-plane nodes, then the first of the order. If there is none it is otherwise,
// or, if that is below 0, the one with the fewest pods. -1 if nothing can be started.
func (l *ledger) gentlest(in *Intent, order []int, ask demand, s *State, t *tally, otherwise int) int {
	var nodes []int
	for _, n := range order {
		if l.startable(in, ask, s, t, n) {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b int) int {
		return cmp.Or(l.workersFirst(a, b), cmp.Compare(len(l.nodes[a].pods), len(l.nodes[b].pods)))
	})
	for _, n := range nodes[:min(len(nodes), trialLimit)] {
		if l.flows(s, n) {
			return n
		}
	}
	if otherwise < 0 && len(nodes) > 0 {
		return nodes[0]
	}
	return otherwise
}

// startable tells whether nothing but room keeps a node from being started.
func (l *ledger) startable(in *Intent, ask demand, s *State, t *tally, n int) bool {
	return s.Stage[n] == Waiting && !l.claimed[n] && l.obstacle(in, ask, s, t, n).Why == 0
}

// flows tells whether a node would not hold itself up.
func (l *ledger) flows(s *State, n int) bool {
	l.claim(n, math.MaxInt)
	defer l.withdraw(n, tierOf(s, n))
	return !l.holdsUp(n)
}

// holdsUp tells whether a pod of a node that has claimed finds no place, and may not be
// away at the same time as all others that have to go.
func (l *ledger) holdsUp(n int) bool {
	pods := l.nodes[n].pods
	return slices.ContainsFunc(pods, func(i int) bool {
		p := &l.pods[i]
		if p.place != nowhere {
			return false
		}
		return p.gated && !p.stuck && l.claims[p.budget] > l.budgets[p.budget].allowed ||
			p.set >= 0 && slices.ContainsFunc(pods, func(other int) bool { return other != i && l.pods[other].set == p.set })
	})
}

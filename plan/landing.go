// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"container/heap"

	"refit.dev/refit/placement"
)

// landing finds places for pods as the scheduler is expected to: first on nodes
// that will not be maintained any more, which have no soft taint, then on those
// that still will be; of several, on the emptiest.
type landing struct {
	board *placement.Board
	// tier of each node: closed nodes take no pods.
	tier []tier
	// byLoad are the nodes of each tier, the emptiest first. A node that became
	// fuller is put back where it belongs when it comes up; an entry that is not
	// the one in queued is out of date, and is dropped.
	byLoad [2]loads
	queued []load
	aside  []load
}

type tier int8

const (
	settled tier = iota // done, or not to be maintained
	due                 // to be maintained yet
	closed
)

type load struct {
	full float64
	node int
}

// loads is a heap; nodes that are equally full come in order of their numbers.
type loads []load

func (l loads) Len() int { return len(l) }
func (l loads) Less(i, j int) bool {
	return l[i].full < l[j].full || l[i].full == l[j].full && l[i].node < l[j].node
}
func (l loads) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push is for package heap.
func (l *loads) Push(x any) { *l = append(*l, x.(load)) }

// Pop is for package heap.
func (l *loads) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

func newLanding(w *World, s *State) *landing {
	l := &landing{board: w.board, tier: make([]tier, len(w.nodes)), queued: make([]load, len(w.nodes))}
	for i := range w.nodes {
		t := tierOf(s, i)
		l.tier[i], l.queued[i].node = t, nowhere
		if t != closed {
			l.queued[i] = load{l.board.Load(i), i}
			l.byLoad[t] = append(l.byLoad[t], l.queued[i])
		}
	}
	for t := range l.byLoad {
		heap.Init(&l.byLoad[t])
	}
	return l
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
	for t := range l.byLoad {
		if at := l.findIn(tier(t), c); at >= 0 {
			return at, tier(t) == due
		}
	}
	return nowhere, false
}

func (l *landing) findIn(t tier, c placement.Class) int {
	nodes := &l.byLoad[t]
	l.aside = l.aside[:0]
	found := nowhere
	for len(l.aside) < fewTries && found < 0 {
		top, any := l.emptiest(t)
		if !any {
			break
		}
		if l.board.Fits(c, top.node) {
			found = top.node
			break
		}
		l.aside = append(l.aside, heap.Pop(nodes).(load))
	}
	if len(l.aside) == fewTries {
		found = l.search(t, c)
	}
	for _, x := range l.aside {
		heap.Push(nodes, x)
	}
	return found
}

// fewTries is how many of the emptiest nodes are tried in order before all others
// are: the answer is the same, and most classes fit on one node of three at the least.
const fewTries = 24

// emptiest returns the emptiest node of a tier, and corrects the entries before it.
func (l *landing) emptiest(t tier) (top load, found bool) {
	nodes := &l.byLoad[t]
	for nodes.Len() > 0 {
		top := (*nodes)[0]
		if l.tier[top.node] != t || l.queued[top.node] != top {
			heap.Pop(nodes)
			continue
		}
		full := l.board.Load(top.node)
		if full <= top.full {
			return top, true
		}
		l.queued[top.node].full = full
		(*nodes)[0].full = full
		heap.Fix(nodes, 0)
	}
	return load{}, false
}

// search looks at every node of a tier that is still in its heap.
func (l *landing) search(t tier, c placement.Class) int {
	best := load{node: nowhere}
	for _, x := range l.byLoad[t] {
		if l.tier[x.node] != t || l.queued[x.node] != x || !l.board.Fits(c, x.node) {
			continue
		}
		x.full = l.board.Load(x.node)
		if best.node < 0 || x.full < best.full || x.full == best.full && x.node < best.node {
			best = x
		}
	}
	return best.node
}

// emptier is told when a pod was taken from a node. (One that became fuller is
// moved when it comes up.)
func (l *landing) emptier(node int) {
	now := load{l.board.Load(node), node}
	if t := l.tier[node]; t != closed && now.full < l.queued[node].full {
		l.queued[node] = now
		heap.Push(&l.byLoad[t], now)
	}
}

// set changes the tier of a node: closed when it takes no more pods, due when it
// is still to be maintained, settled when it will not be any more.
func (l *landing) set(node int, t tier) {
	if l.tier[node] == t {
		return
	}
	l.tier[node] = t
	if t != closed {
		l.queued[node] = load{l.board.Load(node), node}
		heap.Push(&l.byLoad[t], l.queued[node])
	}
}

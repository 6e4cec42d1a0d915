// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"container/heap"
	"slices"

	"refit.dev/refit/placement"
)

// landing finds places for replacements as the scheduler is expected to: of the
// nodes that the pod fits on the emptiest, as the planner has it. It can take back
// what was placed, so that one loss can be tried after another.
type landing struct {
	board *placement.Board
	// byLoad are all nodes, the emptiest first. One that became fuller is put where
	// it belongs when it comes up; an entry that is not that of queued is dropped.
	byLoad loads
	queued []float64
	aside  []load
	closed []bool // nodes that are lost
	done   []move
}

// move is what was done on the board: a pod came to a node, or left it.
type move struct {
	class placement.Class
	node  int
	came  bool
}

type load struct {
	full float64
	node int
}

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

func newLanding(b *placement.Board) *landing {
	l := &landing{board: b, queued: make([]float64, b.Nodes()), closed: make([]bool, b.Nodes())}
	l.sort()
	return l
}

// sort puts all nodes in order from scratch.
func (l *landing) sort() {
	l.byLoad = l.byLoad[:0]
	for i := range l.queued {
		l.queued[i] = l.board.Load(i)
		l.byLoad = append(l.byLoad, load{l.queued[i], i})
	}
	heap.Init(&l.byLoad)
}

// put and take change the board; undo takes that back.
func (l *landing) put(c placement.Class, node int) {
	l.board.Put(c, node)
	l.done = append(l.done, move{c, node, true})
}

func (l *landing) take(c placement.Class, node int) bool {
	if !l.board.Take(c, node) {
		return false
	}
	l.done = append(l.done, move{c, node, false})
	l.emptier(node)
	return true
}

func (l *landing) undo() {
	for _, m := range slices.Backward(l.done) {
		if m.came {
			l.board.Take(m.class, m.node)
			l.emptier(m.node)
		} else {
			l.board.Put(m.class, m.node)
		}
	}
	l.done = l.done[:0]
	if len(l.byLoad) > 2*len(l.queued) { // mostly entries that are out of date
		l.sort()
	}
}

// place finds a node for a pod of the class and puts it there; below 0: there is none.
func (l *landing) place(c placement.Class) int {
	node := l.find(c)
	if node >= 0 {
		l.put(c, node)
	}
	return node
}

// fewTries is how many of the emptiest nodes are tried in order before all others.
const fewTries = 24

func (l *landing) find(c placement.Class) int {
	l.aside = l.aside[:0]
	found := -1
	for len(l.aside) < fewTries && found < 0 {
		top, ok := l.emptiest()
		if !ok {
			break
		}
		if !l.closed[top.node] && l.board.Fits(c, top.node) {
			found = top.node
			break
		}
		l.aside = append(l.aside, heap.Pop(&l.byLoad).(load)) //nolint:forcetypeassert // there is nothing else in it
	}
	if found < 0 && len(l.aside) == fewTries {
		found = l.search(c)
	}
	for _, x := range l.aside {
		heap.Push(&l.byLoad, x)
	}
	return found
}

// emptiest returns the emptiest node and corrects the entries before it.
func (l *landing) emptiest() (top load, found bool) {
	for l.byLoad.Len() > 0 {
		top := l.byLoad[0]
		if l.queued[top.node] != top.full {
			heap.Pop(&l.byLoad)
			continue
		}
		full := l.board.Load(top.node)
		if full <= top.full {
			return top, true
		}
		l.queued[top.node], l.byLoad[0].full = full, full
		heap.Fix(&l.byLoad, 0)
	}
	return load{}, false
}

// search looks at every node that is not aside.
func (l *landing) search(c placement.Class) int {
	best := load{node: -1}
	for _, x := range l.byLoad {
		if l.queued[x.node] != x.full || l.closed[x.node] || !l.board.Fits(c, x.node) {
			continue
		}
		x.full = l.board.Load(x.node)
		if best.node < 0 || x.full < best.full || x.full == best.full && x.node < best.node {
			best = x
		}
	}
	return best.node
}

// emptier puts a node where it belongs from which a pod was taken.
func (l *landing) emptier(node int) {
	if full := l.board.Load(node); full < l.queued[node] {
		l.queued[node] = full
		heap.Push(&l.byLoad, load{full, node})
	}
}

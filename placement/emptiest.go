// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import "container/heap"

// absent is what nodes that are not in an Emptiest are queued with: no load is below 0.
const absent = -1

// fewTries is how many of the emptiest nodes are tried in order before all others
// are: the answer is the same, and most classes fit on one node of three at the least.
const fewTries = 24

// Emptiest finds places for pods as the scheduler is expected to: of the nodes in it
// that a pod fits on, the emptiest by Board.Load; of several, the one with the lowest
// number. The board may change at any time; when a node became emptier, Emptier has to
// be told.
type Emptiest struct {
	board *Board
	// byLoad are the nodes, the emptiest first. One that became fuller is put where it
	// belongs when it comes up. An entry that does not say what queued does is out of
	// date, and is dropped.
	byLoad loads
	queued []float64
	aside  []load
}

type load struct {
	full float64
	node int
}

// loads is a heap.
type loads []load

func (l loads) Len() int           { return len(l) }
func (l loads) Less(i, j int) bool { return l[i].before(l[j]) }
func (l loads) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }

func (x load) before(y load) bool { return x.full < y.full || x.full == y.full && x.node < y.node }

// Push is for package heap.
func (l *loads) Push(x any) { *l = append(*l, x.(load)) }

// Pop is for package heap.
func (l *loads) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// NewEmptiest takes up the nodes of a board for which in is true.
func NewEmptiest(b *Board, in func(node int) bool) *Emptiest {
	e := &Emptiest{board: b, queued: make([]float64, b.Nodes())}
	for i := range e.queued {
		e.queued[i] = absent
		if in(i) {
			e.queued[i] = b.Load(i)
		}
	}
	e.sort()
	return e
}

// sort puts all nodes in order from scratch.
func (e *Emptiest) sort() {
	e.byLoad = e.byLoad[:0]
	for i, full := range e.queued {
		if full != absent {
			e.byLoad = append(e.byLoad, load{full, i})
		}
	}
	heap.Init(&e.byLoad)
}

// Add lets pods come to a node; it may be there already.
func (e *Emptiest) Add(node int) {
	if e.queued[node] == absent {
		e.push(node, e.board.Load(node))
	}
}

// Remove lets no pods come to a node any more.
func (e *Emptiest) Remove(node int) { e.queued[node] = absent }

// Emptier is told when a pod was taken from a node, in it or not.
func (e *Emptiest) Emptier(node int) {
	if full := e.board.Load(node); full < e.queued[node] {
		e.push(node, full)
	}
}

func (e *Emptiest) push(node int, full float64) {
	e.queued[node] = full
	if len(e.byLoad) > 2*len(e.queued) { // most are out of date
		e.sort()
		return
	}
	heap.Push(&e.byLoad, load{full, node})
}

// Find returns the node that a pod of the class is expected on; -1 if it fits on none.
func (e *Emptiest) Find(c Class) int {
	e.aside = e.aside[:0]
	found := -1
	for len(e.aside) < fewTries && found < 0 {
		top, any := e.top()
		if !any {
			break
		}
		if e.board.Fits(c, top.node) {
			found = top.node
			break
		}
		e.aside = append(e.aside, heap.Pop(&e.byLoad).(load))
	}
	if len(e.aside) == fewTries {
		found = e.search(c)
	}
	for _, x := range e.aside {
		heap.Push(&e.byLoad, x)
	}
	return found
}

// top returns the emptiest node, and corrects the entries before it.
func (e *Emptiest) top() (top load, found bool) {
	for e.byLoad.Len() > 0 {
		top := &e.byLoad[0]
		if e.queued[top.node] != top.full {
			heap.Pop(&e.byLoad)
			continue
		}
		full := e.board.Load(top.node)
		if full <= top.full {
			return *top, true
		}
		e.queued[top.node], top.full = full, full
		heap.Fix(&e.byLoad, 0)
	}
	return load{}, false
}

// search looks at every node that is not aside.
func (e *Emptiest) search(c Class) int {
	best := load{node: -1}
	for _, x := range e.byLoad {
		if e.queued[x.node] != x.full || !e.board.Fits(c, x.node) {
			continue
		}
		x.full = e.board.Load(x.node)
		if best.node < 0 || x.before(best) {
			best = x
		}
	}
	return best.node
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"slices"

	"refit.dev/refit/placement"
)

// landing finds places for replacements as the scheduler is expected to, like the
// planner. It can take back what was placed, so that one loss can be tried after another.
type landing struct {
	board *placement.Board
	nodes *placement.Emptiest // but for lost ones
	done  []move
}

// move is what was done on the board: a pod came to a node, or left it.
type move struct {
	class placement.Class
	node  int
	came  bool
}

func newLanding(b *placement.Board) *landing {
	return &landing{board: b, nodes: placement.NewEmptiest(b, func(int) bool { return true })}
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
	l.nodes.Emptier(node)
	return true
}

func (l *landing) undo() {
	for _, m := range slices.Backward(l.done) {
		if m.came {
			l.board.Take(m.class, m.node)
			l.nodes.Emptier(m.node)
		} else {
			l.board.Put(m.class, m.node)
		}
	}
	l.done = l.done[:0]
}

// place finds a node for a pod of the class and puts it there; below 0: there is none.
func (l *landing) place(c placement.Class) int {
	node := l.nodes.Find(c)
	if node >= 0 {
		l.put(c, node)
	}
	return node
}

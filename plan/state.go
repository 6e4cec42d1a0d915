// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"
)

// Stage is where a node stands in the run.
type Stage int

const (
	// Uninvolved nodes are not to be maintained, or are left out by now: failed, deleted.
	Uninvolved Stage = iota
	// Waiting nodes have not been started.
	Waiting
	// Leaving nodes are being emptied and worked on.
	Leaving
	// Settling nodes are back; what had to leave them may not be.
	Settling
	// Done nodes are finished.
	Done
)

// State is how far a run is: for each node of a World, by its number.
type State struct {
	Stage []Stage
	// Out says which nodes count as unavailable, whoever took them out.
	Out []bool
	// Owned says which waiting nodes were begun before, so that they go first.
	Owned []bool
	// Lost is how many nodes are still being worked on that the World does not have any more.
	Lost int
	// Total is how many pods had to leave the nodes when the run began, without those
	// that were terminating, Evicted how many were made to: what has to leave beyond
	// the difference has moved before.
	Total, Evicted int
	// Now is the time of the decision.
	Now time.Time
	// Stalled says that nothing will change any more at the nodes at work, as far as
	// one can tell. Who waits for them to make room does so in vain.
	Stalled bool
}

// NewState is that of a run which has not begun: the nodes of the Intent wait,
// and those that take no pods are out.
func (w *World) NewState(in *Intent) *State {
	s := &State{Stage: make([]Stage, len(w.nodes)), Out: make([]bool, len(w.nodes)), Owned: make([]bool, len(w.nodes))}
	for i := range w.nodes {
		s.Out[i] = !w.nodes[i].schedulable
	}
	for _, name := range in.Nodes {
		if i, known := w.byName[name]; known {
			s.Stage[i] = Waiting
			s.Total += w.Staying(i)
		}
	}
	return s
}

// tally adds up a State.
type tally struct {
	out, atWork     int // of all nodes; nodes at work, out or not
	outControlPlane int
	outByZone       []int
	waiting, done   int
	// soon: a node that pods can stay on takes them in a moment.
	soon bool
}

func (w *World) tally(s *State) tally {
	t := tally{outByZone: make([]int, w.zones), atWork: s.Lost}
	for i := range w.nodes {
		switch s.Stage[i] {
		case Waiting:
			t.waiting++
		case Leaving, Settling:
			t.atWork++
		case Done:
			t.done++
		case Uninvolved:
		}
		t.soon = t.soon || w.nodes[i].heldBack && tierOf(s, i) == settled
		if s.Out[i] || s.Stage[i] == Leaving || s.Stage[i] == Settling {
			t.take(&w.nodes[i])
		}
	}
	return t
}

func (t *tally) take(n *node) {
	t.out++
	t.outByZone[n.zone]++
	if n.controlPlane {
		t.outControlPlane++
	}
}

func (s *State) clone() *State {
	c := *s
	c.Stage, c.Out, c.Owned = slices.Clone(s.Stage), slices.Clone(s.Out), slices.Clone(s.Owned)
	return &c
}

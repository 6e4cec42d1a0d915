// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"container/heap"
	"slices"
	"time"
)

// forecast imagines how a run goes: evictions as the budgets allow them,
// replacements that start where the scheduler is expected to put them, machines
// that are away for as long as the work takes. Whenever something changes it
// asks decide what to start, as the run itself does.
type forecast struct {
	*ledger
	in    *Intent
	order *Order
	state *State
	begin time.Time
	now   time.Duration // since the beginning
	next  happenings
	count int // of happenings so far: those of one moment are dealt with in the order of their causes

	visits []visit
	// leaving are the pods that a node waits for, away those that were evicted from
	// it and whose replacements are not Ready.
	leaving, away []int
	// atBudget and atSet are the pods that wait for their turn, first come first served.
	atBudget, atSet [][]int
	// starting are the pods whose replacements are not Ready yet, with the node they came from.
	starting map[int]int
	pending  []int // evicted, and no place for the replacement
	moves    []move
	// changed: something happened that a decision may depend on.
	changed bool
	// heeded are the budgets and sets that the last decision found in the way.
	heededBudgets, heededSets []bool
}

// visit is what is expected for one node, in time since the beginning; negative: never.
type visit struct {
	start, drained, back, done time.Duration
	last                       Wait // what it waited for last
}

type kind int8

const (
	podGone    kind = iota // from its node
	podHealthy             // the replacement
	nodeBack
	nodeDone
)

// happening is something that will happen.
type happening struct {
	at      time.Duration
	count   int
	kind    kind
	subject int // pod or node
	on      int // the node that a pod leaves
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].count < h[j].count
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *happenings) Push(x any) { *h = append(*h, x.(happening)) }

// Pop is for package heap.
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

const never = -1

// imagine forecasts a run from a State on. Neither World nor State are changed.
func (w *World) imagine(in *Intent, order *Order, s *State) *forecast {
	w, s = w.clone(), s.clone()
	w.closeUncomputable()
	for i := range w.nodes { // what a moment brings is no matter for a forecast
		if x := &w.nodes[i]; x.heldBack {
			x.heldBack = false
			w.board.SetOut(i, false)
		}
	}
	f := &forecast{
		ledger: newLedger(w, s), in: in, order: order, state: s, begin: w.snapshot.Time, visits: make([]visit, len(w.nodes)),
		leaving: make([]int, len(w.nodes)), away: make([]int, len(w.nodes)),
		atBudget: make([][]int, len(w.budgets)), atSet: make([][]int, len(w.sets)), starting: map[int]int{},
		heededBudgets: make([]bool, len(w.budgets)), heededSets: make([]bool, len(w.sets)),
		moves: make([]move, 0, len(w.pods)), changed: true,
	}
	for i := range f.visits {
		f.visits[i] = visit{never, never, never, never, Wait{}}
	}
	for i := range w.nodes {
		switch s.Stage[i] {
		case Leaving:
			f.visits[i].start = 0
			f.empty(i)
		case Settling:
			f.visits[i] = visit{start: 0, drained: 0, back: 0, done: never}
			f.settle(i)
		case Uninvolved, Waiting, Done:
		}
	}
	f.run()
	return f
}

func (f *forecast) run() {
	for {
		if f.changed {
			f.decideNow()
		}
		for len(f.next) == 0 {
			if f.place(); len(f.next) > 0 { // spread over zones, one makes room for another
				break
			}
			f.state.Stalled = true
			started := f.decideNow()
			f.state.Stalled = false
			if started == 0 {
				return
			}
		}
		f.now = f.next[0].at
		for len(f.next) > 0 && f.next[0].at == f.now {
			f.happen(heap.Pop(&f.next).(happening))
		}
	}
}

// decideNow starts what may be started, and returns how many nodes that are.
func (f *forecast) decideNow() int {
	f.changed = false
	clear(f.heededBudgets)
	clear(f.heededSets)
	f.state.Now = f.begin.Add(f.now)
	v := f.decide(f.in, f.order, f.state)
	for _, x := range v.Waits {
		f.visits[x.Node].last = x
		switch x.Why {
		case WaitsForBudget:
			f.heededBudgets[x.subject] = true
		case WaitsForQuorum:
			f.heededSets[x.subject] = true
		}
	}
	for _, n := range v.Start {
		f.state.Stage[n] = Leaving
		f.state.Out[n] = true
		f.visits[n].start = f.now
		f.empty(n)
	}
	return len(v.Start)
}

func (f *forecast) later(after time.Duration, k kind, subject, on int) {
	f.count++
	heap.Push(&f.next, happening{f.now + after, f.count, k, subject, on})
}

func (f *forecast) happen(h happening) {
	switch h.kind {
	case podGone:
		f.board.Take(f.pods[h.subject].class.Leaving(), h.on)
		f.leaving[h.on]--
		f.drained(h.on)
	case podHealthy:
		f.healthy(h.subject)
	case nodeBack:
		f.back(h.subject)
	case nodeDone:
		f.state.Stage[h.subject] = Done
		f.visits[h.subject].done = f.now
		f.changed = true
	}
}

// empty begins to evict the pods of a node.
func (f *forecast) empty(n int) {
	pods := slices.Clone(f.nodes[n].pods)
	f.leaving[n] = len(pods)
	for _, i := range pods {
		if _, notYet := f.starting[i]; !notYet {
			f.ask(i)
		}
	}
	f.drained(n)
}

// drained lets the work begin if a node is empty.
func (f *forecast) drained(n int) {
	if f.leaving[n] > 0 || f.visits[n].drained != never {
		return
	}
	f.visits[n].drained = f.now
	f.later(f.in.Work, nodeBack, n, n)
}

func (f *forecast) back(n int) {
	f.state.Stage[n] = Settling
	f.state.Out[n] = !f.nodes[n].schedulable
	f.visits[n].back = f.now
	f.claimed[n] = false
	if !f.state.Out[n] {
		f.landing.set(n, settled)
		f.place()
	}
	f.changed = true
	f.settle(n)
}

// settle ends a node's visit when its workloads are back.
func (f *forecast) settle(n int) {
	if f.away[n] == 0 {
		f.later(f.in.Soak, nodeDone, n, n)
	}
}

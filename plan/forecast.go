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

// move is the way of a pod; to is negative for one that nobody replaces, or for
// which there is no place.
type move struct {
	pod, from, to int
	at, lands     time.Duration // lands later than at: there was no place before
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

// ask evicts a pod, or lets it wait for its turn.
func (f *forecast) ask(i int) {
	p := &f.pods[i]
	switch {
	case p.set >= 0 && p.healthy && f.sets[p.set].missing > 0:
		f.atSet[p.set] = append(f.atSet[p.set], i)
	case p.gated && f.refuses(p):
		f.atBudget[p.budget] = append(f.atBudget[p.budget], i)
	default:
		f.evict(i)
	}
}

// refuses tells whether the Eviction API refuses a pod now. Once as many are healthy
// as the budget wants, it lets those go that are not.
func (f *forecast) refuses(p *pod) bool {
	b := &f.budgets[p.budget]
	return b.refuses(b.allowed, p.healthy)
}

func (f *forecast) evict(i int) {
	p, x := &f.pods[i], &f.workloads[f.pods[i].workload]
	from := p.node
	f.settleClaim(i, from)
	if p.budget >= 0 && p.healthy {
		b := &f.budgets[p.budget]
		if b.allowed--; b.allowed == 0 {
			b.exhausted = f.begin.Add(f.now)
		}
		f.changed = f.changed || f.heededBudgets[p.budget] && f.claims[p.budget] == 0
	}
	if p.set >= 0 && p.healthy {
		f.sets[p.set].missing++
	}
	p.healthy = false
	if !p.leaving {
		f.board.Take(p.class, from)
		f.board.Put(p.class.Leaving(), from)
		f.state.Evicted++
	}
	f.later(x.termination, podGone, i, from)
	if !p.replaced {
		f.moves = append(f.moves, move{i, from, nowhere, f.now, f.now})
		return // for good: what it took from its budget does not come back
	}
	f.away[from]++
	f.starting[i] = from
	if !f.holds(p) {
		f.replace(p)
	}
	f.moves = append(f.moves, move{i, from, p.place, f.now, f.now})
	if p.place < 0 {
		f.pending = append(f.pending, i)
		return
	}
	f.arrive(i, x.termination)
}

// holds tells whether the scheduler would still choose the place that was kept for
// a pod: others have come and gone since.
func (f *forecast) holds(p *pod) bool {
	if p.place < 0 || f.landing.tier[p.place] == closed {
		return false
	}
	f.board.Take(p.class, p.place)
	fits := f.board.Fits(p.class, p.place)
	f.board.Put(p.class, p.place)
	return fits
}

// replace looks for another place than the one that was kept for a pod that is leaving.
func (f *forecast) replace(p *pod) {
	if p.place >= 0 {
		f.board.Take(p.class, p.place)
		f.landing.emptier(p.place)
	}
	if p.place, _ = f.landing.find(p.class); p.place >= 0 {
		f.board.Put(p.class, p.place)
	}
}

// arrive lets the replacement start at its place. gone is how long the pod itself
// still takes, which some replacements wait for. The place is on no node that is
// being emptied: those are closed.
func (f *forecast) arrive(i int, gone time.Duration) {
	p, x := &f.pods[i], &f.workloads[f.pods[i].workload]
	p.node, p.place = p.place, unclaimed
	f.nodes[p.node].pods = append(f.nodes[p.node].pods, i)
	took := x.startup
	if p.afterwards {
		took += gone
	}
	f.later(took, podHealthy, i, p.node)
}

func (f *forecast) healthy(i int) {
	p := &f.pods[i]
	from := f.starting[i]
	delete(f.starting, i)
	f.away[from]--
	p.healthy = true
	f.release(i)
	if !p.gated && p.budget >= 0 {
		p.gated = true // it was not, when it was not healthy
		if f.state.Stage[p.node] == Leaving {
			f.claims[p.budget]++
		}
	}
	if f.state.Stage[p.node] == Leaving {
		f.ask(i)
	}
	if f.state.Stage[from] == Settling {
		f.settle(from)
	}
}

// release counts a pod as healthy in its budget and its set, whether or not it was
// before it moved.
func (f *forecast) release(i int) {
	p := &f.pods[i]
	if p.set >= 0 {
		f.sets[p.set].missing--
		f.changed = f.changed || f.heededSets[p.set]
		f.serve(&f.atSet[p.set])
	}
	if p.budget >= 0 {
		f.budgets[p.budget].allowed++
		f.changed = f.changed || f.heededBudgets[p.budget]
		f.serve(&f.atBudget[p.budget])
	}
}

// serve asks again for the pods of a queue. Behind one that has to wait nobody
// passes but pods that are not healthy: a budget may let those go that lets no other go.
func (f *forecast) serve(queue *[]int) {
	waiting := *queue
	*queue = nil
	for _, i := range waiting {
		if len(*queue) > 0 && f.pods[i].healthy {
			*queue = append(*queue, i)
			continue
		}
		f.ask(i)
	}
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

// place looks for places for the pods that have none.
func (f *forecast) place() {
	waiting := f.pending
	f.pending = nil
	for _, i := range waiting {
		if f.replace(&f.pods[i]); f.pods[i].place < 0 {
			f.pending = append(f.pending, i)
			continue
		}
		last := len(f.moves) - 1
		for f.moves[last].pod != i {
			last--
		}
		f.moves[last].to, f.moves[last].lands = f.pods[i].place, f.now
		f.arrive(i, max(0, f.moves[last].at+f.workloads[f.pods[i].workload].termination-f.now))
	}
}

// settle ends a node's visit when its workloads are back.
func (f *forecast) settle(n int) {
	if f.away[n] == 0 {
		f.later(f.in.Soak, nodeDone, n, n)
	}
}

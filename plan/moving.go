// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

// This is the part of a forecast that is about single pods: how they wait for their
// turn, leave, and start elsewhere.

// move is the way of a pod; to is negative for one that nobody replaces, or for
// which there is no place.
type move struct {
	pod, from, to int
	at, lands     time.Duration // lands later than at: there was no place before
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

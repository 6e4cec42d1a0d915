// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
)

// Optimum returns the shortest time in which the nodes can be maintained, by trying
// at every moment at which something happens every set of waiting nodes that may
// be started: none, too, while something is under way. The world is that of the
// forecast - durations, evictions as budgets and quorum sets let them go, places -
// but nothing of decide is asked. What a choice has to keep are slots, zones and
// that control-plane nodes go one by one; with gentle, also that the first node goes
// alone where there are more than slots, that a worker is among the first, that pods are not moved more often than
// moves, and that no node goes whose pods fit nowhere while one is away on which they may
// fit. Only what is shorter than known is looked for. found is false if the search
// was given up after effort choices.
func Optimum(w *World, in *Intent, gentle bool, moves int, known time.Duration, effort int) (shortest time.Duration, found bool) {
	s := &search{in: in, gentle: gentle, moves: moves, best: known, seen: map[string]time.Duration{}, left: effort}
	s.explore(w.imagine(in, &Order{}, w.NewState(in)))
	return s.best, s.left > 0
}

type search struct {
	in     *Intent
	gentle bool
	moves  int
	best   time.Duration
	seen   map[string]time.Duration // when a state was reached
	left   int
}

func (s *search) explore(f *forecast) {
	if s.left--; s.left <= 0 || f.now+s.remaining(f) >= s.best || s.gentle && len(f.moves) > s.moves {
		return
	}
	key := f.fingerprint()
	if at, known := s.seen[key]; known && at <= f.now {
		return
	}
	s.seen[key] = f.now
	var waiting []int
	for n, stage := range f.state.Stage {
		if stage == Waiting {
			waiting = append(waiting, n)
		}
	}
	if len(waiting) == 0 && len(f.next) == 0 {
		if end := f.end(); len(f.pending) == 0 && end < s.best && !slices.ContainsFunc(f.state.Stage, func(x Stage) bool { return x != Done && x != Uninvolved }) {
			s.best = end
		}
		return
	}
	for set := 1<<len(waiting) - 1; set >= 0; set-- { // large sets first: they are quick
		var start []int
		for i, n := range waiting {
			if set&(1<<i) != 0 {
				start = append(start, n)
			}
		}
		if len(start) == 0 && len(f.next) == 0 || !s.allowed(f, start) {
			continue
		}
		if g := f.fork(); g.keep(start) || !s.gentle {
			s.explore(g.advance(start))
		}
	}
}

// allowed tells whether the nodes may be started together now.
func (s *search) allowed(f *forecast, start []int) bool {
	t := f.tally(f.state)
	if s.gentle && t.done+t.atWork == 0 && len(start) > 0 && !s.worker(f, start) {
		return false
	}
	for _, n := range start {
		x := &f.nodes[n]
		out, zone, planes := t.out, t.outByZone[x.zone], t.outControlPlane
		if f.state.Out[n] {
			out, zone = out-1, zone-1
			if x.controlPlane {
				planes--
			}
		}
		if out >= s.in.MaxUnavailable && !f.state.Out[n] || t.atWork >= s.in.MaxUnavailable || x.controlPlane && planes > 0 ||
			s.in.MaxUnavailablePerZone > 0 && zone >= s.in.MaxUnavailablePerZone {
			return false
		}
		if s.gentle && t.done == 0 && t.atWork > 0 && len(s.in.Nodes) > s.in.MaxUnavailable {
			return false
		}
		t.start(x, f.state.Out[n])
	}
	return true
}

// worker tells whether there is a worker among the first nodes, or none at all.
func (s *search) worker(f *forecast, start []int) bool {
	isWorker := func(n int) bool { return !f.nodes[n].controlPlane }
	return slices.ContainsFunc(start, isWorker) || !slices.ContainsFunc(s.in.Nodes, func(name string) bool { return isWorker(f.byName[name]) })
}

// keep finds places for the pods of nodes that are about to start, and tells whether
// there is none for which another node that is away might have one.
func (f *forecast) keep(start []int) bool {
	atWork, fine := f.tally(f.state).atWork, true
	for i, n := range start {
		fine = !(f.claim(n, math.MaxInt).waits && atWork+i > 0) && fine
	}
	for _, n := range start {
		for _, i := range f.nodes[n].pods { // nor may it lose the place to a node that starts with it
			place := f.pods[i].place
			fine = fine && (place < 0 || f.landing.tier[place] != closed)
		}
	}
	return fine
}

// advance starts nodes that have been claimed for, and goes on to the next moment at
// which something happens.
func (f *forecast) advance(start []int) *forecast {
	for _, n := range start {
		f.state.Stage[n], f.state.Out[n] = Leaving, true
		f.visits[n].start = f.now
		f.empty(n)
	}
	if len(f.next) == 0 {
		f.place()
	}
	if len(f.next) > 0 {
		f.now = f.next[0].at
		for len(f.next) > 0 && f.next[0].at == f.now {
			f.happen(heap.Pop(&f.next).(happening))
		}
	}
	return f
}

// remaining is a time that it takes from now on at the least.
func (s *search) remaining(f *forecast) time.Duration {
	var sum, longest time.Duration
	for n, stage := range f.state.Stage {
		var left time.Duration
		switch v := &f.visits[n]; {
		case stage == Waiting, stage == Leaving && v.drained == never:
			left = s.in.Work + s.in.Soak
			var ends time.Duration
			for _, i := range f.nodes[n].pods {
				ends = max(ends, f.workloads[f.pods[i].workload].termination)
			}
			left += ends
		case stage == Leaving:
			left = max(0, v.drained+s.in.Work+s.in.Soak-f.now)
		}
		sum, longest = sum+left, max(longest, left)
	}
	return max(longest, sum/time.Duration(s.in.MaxUnavailable))
}

// fork returns a forecast that goes its own way.
func (f *forecast) fork() *forecast {
	c, l, d, w := *f, *f.ledger, *f.landing, f.World.clone()
	d.tier = slices.Clone(d.tier)
	d.sort(w)
	l.World, l.landing = w, &d
	l.claims, l.members, l.claimed, l.again, l.wanted = slices.Clone(l.claims), slices.Clone(l.members), slices.Clone(l.claimed), slices.Clone(l.again), slices.Clone(l.wanted)
	c.ledger, c.state, c.next, c.visits = &l, f.state.clone(), slices.Clone(f.next), slices.Clone(f.visits)
	c.leaving, c.away, c.pending, c.moves = slices.Clone(f.leaving), slices.Clone(f.away), slices.Clone(f.pending), slices.Clone(f.moves)
	c.starting = maps.Clone(f.starting)
	c.atBudget, c.atSet = cloned(f.atBudget), cloned(f.atSet)
	c.heededBudgets, c.heededSets = slices.Clone(f.heededBudgets), slices.Clone(f.heededSets)
	return &c
}

func cloned(lists [][]int) [][]int {
	lists = slices.Clone(lists)
	for i := range lists {
		lists[i] = slices.Clone(lists[i])
	}
	return lists
}

// fingerprint is the same for states from which everything goes on in the same way.
func (f *forecast) fingerprint() string {
	var b []byte
	put := func(numbers ...int) {
		for _, n := range numbers {
			b = binary.AppendVarint(b, int64(n))
		}
	}
	list := func(numbers []int) { put(len(numbers)); put(numbers...) }
	flag := func(x bool) int {
		if x {
			return 1
		}
		return 0
	}
	for n := range f.nodes {
		put(int(f.state.Stage[n]), flag(f.state.Out[n]), f.leaving[n], f.away[n], flag(f.claimed[n]), flag(f.visits[n].drained == never))
		list(f.nodes[n].pods)
	}
	for i := range f.pods {
		p := &f.pods[i]
		from, starting := f.starting[i]
		put(p.node, p.place, flag(p.healthy), flag(p.gated), flag(starting), from)
	}
	for i := range f.budgets {
		put(f.budgets[i].allowed)
		list(f.atBudget[i])
	}
	for i := range f.sets {
		put(f.sets[i].missing)
		list(f.atSet[i])
	}
	list(f.pending)
	put(len(f.moves))
	next := slices.Clone(f.next)
	slices.SortFunc(next, func(a, b happening) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.count, b.count)) })
	for _, h := range next {
		put(int(h.at-f.now), int(h.kind), h.subject, h.on)
	}
	return string(b)
}

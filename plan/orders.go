// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// effort bounds how many moves of pods are imagined in all before a Plan is made:
// small clusters get many tries, large ones a few.
const (
	effort    = 60_000
	mostTries = 64
)

// eagerness are the values of Order.Eager that are worth it. Of those that a forecast
// takes for equally quick the first is: a forecast knows nothing of the time that
// passes between a pod's being Ready and its budget's saying so, and a slot that stays
// empty meanwhile is lost. With 50 nodes, ten of them at once, slots were empty for 19
// to 60 s in sum with 1, and for 9 or 10 with 2.
var eagerness = [...]int{2, 0, 1}

// orders returns the orders that are worth imagining, the most promising first.
// The list depends on nothing but the World and the Intent.
func (w *World) orders(in *Intent, able []int) []Order {
	pods := 1
	for _, n := range able {
		pods += 1 + len(w.nodes[n].pods)
	}
	tries := max(1, min(mostTries, effort/pods))
	chains := w.chainOf(able)
	least := make(map[int]time.Duration, len(able))
	for _, n := range able {
		least[n] = w.least(in, n)
	}
	by := func(compare func(a, b int) int) []int {
		nodes := slices.Clone(able)
		slices.SortStableFunc(nodes, func(a, b int) int {
			return cmp.Or(w.workersFirst(a, b), compare(a, b), cmp.Compare(a, b))
		})
		return nodes
	}
	longest := by(func(a, b int) int {
		return cmp.Or(cmp.Compare(chains[b], chains[a]), cmp.Compare(least[b], least[a]))
	})
	bases := [][]int{
		longest,
		by(func(a, b int) int { return cmp.Compare(least[b], least[a]) }),
		by(func(a, b int) int { return cmp.Compare(len(w.nodes[a].pods), len(w.nodes[b].pods)) }),
		by(func(int, int) int { return 0 }),
	}
	var orders []Order
	for _, first := range []func([]int) []int{w.gentleFirst, slices.Clone[[]int]} {
		for _, nodes := range bases {
			for _, eager := range eagerness {
				orders = append(orders, Order{first(nodes), eager})
			}
		}
	}
	// The best is often near to the one with the longest chains first.
	shuffle := rand.New(rand.NewPCG(1, uint64(len(able)))) //nolint:gosec // chance is wanted that repeats itself
	for len(orders) < tries {
		nodes := slices.Clone(longest)
		for range 1 + shuffle.IntN(len(nodes)) {
			i, j := shuffle.IntN(len(nodes)), shuffle.IntN(len(nodes))
			nodes[i], nodes[j] = nodes[j], nodes[i]
		}
		if i := slices.IndexFunc(nodes, func(n int) bool { return !w.nodes[n].controlPlane }); i > 0 {
			nodes[0], nodes[i] = nodes[i], nodes[0] // still, a worker is the first
		}
		orders = append(orders, Order{nodes, eagerness[len(orders)%len(eagerness)]})
	}
	return orders[:min(tries, len(orders))]
}

// ByName is the plainest order of the nodes of an Intent: by name, workers first,
// each as soon as the budgets have room for all of its pods.
func (w *World) ByName(in *Intent) *Order {
	o := &Order{Eager: 1}
	for _, name := range in.Nodes {
		if n, known := w.byName[name]; known {
			o.Nodes = append(o.Nodes, n)
		}
	}
	slices.SortStableFunc(o.Nodes, w.workersFirst)
	return o
}

// gentleFirst puts the worker with the fewest pods in front: it may be the first to
// go, alone, and nothing is known yet of how the work goes.
func (w *World) gentleFirst(nodes []int) []int {
	best := 0
	for i, n := range nodes {
		if len(w.nodes[n].pods) < len(w.nodes[nodes[best]].pods) && w.workersFirst(n, nodes[best]) <= 0 {
			best = i
		}
	}
	n := nodes[best]
	return slices.Insert(slices.Delete(slices.Clone(nodes), best, best+1), 0, n)
}

// workersFirst: what is wrong with the work on a machine shows on a worker first.
func (w *World) workersFirst(a, b int) int {
	switch x, y := w.nodes[a].controlPlane, w.nodes[b].controlPlane; {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// chainOf is, for each node, the longest chain of evictions that it is part of:
// those of one budget, or one quorum set, on all nodes.
func (w *World) chainOf(able []int) map[int]time.Duration {
	budgets, sets := make([][]time.Duration, len(w.budgets)), make([][]time.Duration, len(w.sets))
	w.each(able, func(_ int, p *pod) {
		if p.queues() {
			budgets[p.budget] = append(budgets[p.budget], w.held(p))
		}
		if p.votes() {
			sets[p.set] = append(sets[p.set], w.held(p))
		}
	})
	ofBudget, ofSet := make([]time.Duration, len(budgets)), make([]time.Duration, len(sets))
	for b, held := range budgets {
		ofBudget[b] = chain(held, w.budgets[b].atBest)
	}
	for q, held := range sets {
		ofSet[q] = chain(held, 1)
	}
	chains := make(map[int]time.Duration, len(able))
	w.each(able, func(n int, p *pod) {
		if p.queues() {
			chains[n] = max(chains[n], ofBudget[p.budget])
		}
		if p.votes() {
			chains[n] = max(chains[n], ofSet[p.set])
		}
	})
	return chains
}

// each calls do for every pod that has to leave one of the nodes.
func (w *World) each(nodes []int, do func(n int, p *pod)) {
	for _, n := range nodes {
		for _, i := range w.nodes[n].pods {
			do(n, &w.pods[i])
		}
	}
}

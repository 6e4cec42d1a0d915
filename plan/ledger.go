// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"math"
	"slices"

	"refit.dev/refit/placement"
)

// ledger keeps account of what nodes at work have claimed: a place for each of
// their pods, and their turn at the budgets.
type ledger struct {
	*World
	landing *landing
	// claims are, for each budget, the pods that are still to be evicted.
	claims []int
	// members are, for each quorum set, the nodes at work that still have one.
	members []int
	// claimed are the nodes whose claims are in the account, again how many of the
	// pods of each are expected where they will have to move again.
	claimed []bool
	again   []int
	wanted  []int // of each budget, by the node that is being looked at
	// expected are the pods that are on their way somewhere, with the place that is kept for each.
	expected []stand
}

// stand is a pod of a class on a node.
type stand struct {
	class placement.Class
	node  int
}

const (
	unclaimed = -1
	nowhere   = -2
)

// claim is what it means for the pods of one node to leave it.
type claim struct {
	// again is how many pods are expected on nodes that are still to be maintained.
	again int
	// waits: a pod fits nowhere now, and may when a node is back.
	waits bool
}

func newLedger(w *World, s *State) *ledger {
	l := &ledger{
		World: w, landing: newLanding(w, s), claims: make([]int, len(w.budgets)), members: make([]int, len(w.sets)),
		claimed: make([]bool, len(w.nodes)), again: make([]int, len(w.nodes)), wanted: make([]int, len(w.budgets)),
	}
	for i := range w.nodes {
		if s.Stage[i] == Leaving {
			l.claim(i, math.MaxInt)
		}
	}
	return l
}

// expect keeps places for the pods that controllers are short of: they were
// evicted a moment ago, and what replaces them is not bound yet.
func (l *ledger) expect() {
	for i := range l.crews {
		x := &l.crews[i]
		for range x.desired - x.bound {
			place, _ := l.landing.find(x.class)
			if place < 0 {
				break
			}
			l.board.Put(x.class, place)
			l.expected = append(l.expected, stand{x.class, place})
		}
	}
}

// claim takes account of a node that starts, and finds a place for each of its
// pods. As soon as more than spare of them would have to move again it gives up:
// the claim is only good for being withdrawn.
func (l *ledger) claim(on, spare int) claim {
	var c claim
	l.claimed[on] = true
	l.landing.set(on, closed)
	for at, i := range l.nodes[on].pods {
		p := &l.pods[i]
		if p.gated && p.budget >= 0 {
			l.claims[p.budget]++
		}
		if l.firstOfSet(on, at) {
			l.members[p.set]++
		}
		if !p.replaced || c.again > max(spare, 0) {
			continue
		}
		place, again := l.seek(i, on)
		if place == nowhere {
			c.waits = c.waits || l.mayFit(p.class, on)
		}
		if again {
			c.again++
		}
	}
	l.again[on] = c.again
	return c
}

// seek finds a place for the replacement of a pod, and keeps it for it. again:
// the pod will have to move again from there.
func (l *ledger) seek(i, on int) (place int, again bool) {
	class := l.pods[i].class
	l.board.Take(class, on) // it leaves; the scheduler still counts it while it terminates, as it may here
	place, again = l.landing.find(class)
	l.board.Put(class, on)
	l.pods[i].place = place
	if place >= 0 {
		l.board.Put(class, place)
	}
	return place, again
}

// mayFit tells whether a pod that fits nowhere now might on another node that is
// at work, or still to be maintained, once that is done and has room.
func (l *ledger) mayFit(c placement.Class, but int) bool {
	for i, claimed := range l.claimed {
		if i != but && (claimed || l.landing.tier[i] == due) && l.board.Static(c, i) {
			return true
		}
	}
	return false
}

// firstOfSet tells whether a node's pod is the first one of its quorum set there.
func (l *ledger) firstOfSet(on, at int) bool {
	pods := l.nodes[on].pods
	set := l.pods[pods[at]].set
	return set >= 0 && !slices.ContainsFunc(pods[:at], func(i int) bool { return l.pods[i].set == set })
}

// settleClaim takes a pod that is evicted off the account of its node: what was
// expected happens now.
func (l *ledger) settleClaim(i, on int) {
	p, n := &l.pods[i], &l.nodes[on]
	if p.gated && p.budget >= 0 {
		l.claims[p.budget]--
	}
	n.pods = slices.Delete(slices.Clone(n.pods), slices.Index(n.pods, i), slices.Index(n.pods, i)+1)
	if p.set >= 0 && !slices.ContainsFunc(n.pods, func(other int) bool { return l.pods[other].set == p.set }) {
		l.members[p.set]--
	}
	if p.place >= 0 && l.landing.tier[p.place] == due {
		l.again[on]--
	}
}

// withdraw undoes a claim; the node's tier is t again.
func (l *ledger) withdraw(on int, t tier) {
	for at, i := range l.nodes[on].pods {
		p := &l.pods[i]
		if p.gated && p.budget >= 0 {
			l.claims[p.budget]--
		}
		if l.firstOfSet(on, at) {
			l.members[p.set]--
		}
		if p.place >= 0 {
			l.board.Take(p.class, p.place)
			l.landing.emptier(p.place)
		}
		p.place = unclaimed
	}
	l.claimed[on], l.again[on] = false, 0
	l.landing.set(on, t)
}

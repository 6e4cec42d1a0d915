// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"math"
	"slices"
	"time"

	"refit.dev/refit/internal/phrase"
)

// Order says which nodes come first where several could be started.
type Order struct {
	// Nodes are numbers of a World's nodes, the first to start first. Nodes that
	// are not among them are not started.
	Nodes []int
	// Eager is how much of what a budget can ever let go nodes may claim at the same
	// time: with 1, a node is started once the budgets have room for all of its
	// pods; with 2, its pods may have to wait for as many again as a budget can let go,
	// but one: those of a budget that never lets two go take turns as with 1; 0 is no limit.
	Eager int
}

// Verdict is a decision.
type Verdict struct {
	// Start are the nodes to start now, in that order.
	Start []int
	// Waits tells of nodes that could not be started what they wait for. Once the
	// limit is reached no further node is looked at.
	Waits []Wait
}

// Why says what keeps a node from being started.
type Why int

const (
	WaitsForSlot         Why = iota + 1 // as many nodes are out as may be
	WaitsForZone                        // as many of its zone
	WaitsForControlPlane                // another control-plane node is out
	WaitsForFirst                       // the first node of the run goes alone
	WaitsForBudget                      // the budget of one of its pods is used up
	WaitsForQuorum                      // another member of a quorum is away
	WaitsForRoom                        // its pods would find no place now
	WaitsForLanding                     // its pods would have to move again
)

// Wait is what one node waits for.
type Wait struct {
	Node int
	Why  Why
	// budget or set in the way, of the World.
	subject int
}

// demand is what a node is to find at its budgets: eager as in an Order; eaten: it
// may have the pods on it that use one up.
type demand struct {
	eager int
	eaten bool
}

// trialLimit bounds for how many nodes places are sought in vain before a decision
// is left at what it has. The next one is made soon, and the first in the order
// have precedence anyhow. As many are tried again where one has to go in any case.
const trialLimit = 16

// Decide returns which nodes may be started now.
func (w *World) Decide(in *Intent, order *Order, s *State) Verdict {
	l := newLedger(w, s)
	l.expect()
	defer l.restore(s)
	return l.decide(in, order, s)
}

// restore takes back all claims, so that the board is as it was.
func (l *ledger) restore(s *State) {
	for i := range l.nodes {
		if l.claimed[i] {
			l.withdraw(i, tierOf(s, i))
		}
	}
	for _, x := range l.expected {
		l.board.Take(x.class, x.node)
	}
}

// decide claims for the nodes that it starts, and leaves the rest as it was.
func (l *ledger) decide(in *Intent, order *Order, s *State) Verdict {
	var v Verdict
	t := l.tally(s)
	if t.waiting == 0 {
		return v
	}
	if s.Stalled { // nor will what they have claimed of the budgets be used
		order = &Order{Nodes: order.Nodes, Eager: 0}
	}
	spare := l.spare(in, s)
	canary := t.done == 0 && len(in.Nodes) > in.MaxUnavailable
	trials := 0
	putOff := -1 // the first node that could go now, if it did not hold itself up
	ask := demand{eager: 1}
	idle := func() bool { return t.atWork == 0 && !t.soon || s.Stalled && len(v.Start) == 0 }
	consider := func(n int, force bool) bool {
		if s.Stage[n] != Waiting || l.claimed[n] {
			return true
		}
		wait := l.obstacle(in, ask, s, &t, n)
		if s.Owned[n] && s.Out[n] {
			force = true // it is out: every minute that it stays so is lost
		}
		if wait.Why == 0 && canary && t.atWork > 0 && !force {
			wait = Wait{Node: n, Why: WaitsForFirst}
		}
		if wait.Why == 0 {
			limit := spare
			if force {
				limit = math.MaxInt
			}
			c := l.claim(n, limit)
			switch {
			case force:
			case c.waits && !idle():
				wait = Wait{Node: n, Why: WaitsForRoom}
			case c.again > 0 && c.again > spare:
				wait = Wait{Node: n, Why: WaitsForLanding}
			case c.waits && l.holdsUp(n):
				wait = Wait{Node: n, Why: WaitsForRoom}
				if putOff < 0 {
					putOff = n
				}
			}
			if wait.Why == 0 {
				spare -= c.again
				t.start(&l.nodes[n], s.Out[n])
				v.Start = append(v.Start, n)
				// One that has to go although there is no room may have been put off before.
				v.Waits = slices.DeleteFunc(v.Waits, func(x Wait) bool { return x.Node == n })
				return true
			}
			l.withdraw(n, tierOf(s, n))
			trials++
		}
		v.Waits = append(v.Waits, wait)
		switch wait.Why {
		case WaitsForSlot:
			return t.atWork < in.MaxUnavailable // one that is out already needs no slot
		case WaitsForFirst:
			return false
		}
		return trials < trialLimit
	}
	more := true // nodes are worth a look
	for _, owned := range []bool{true, false} {
		if canary && !owned && t.atWork == 0 {
			if n := l.first(in, order.Nodes, ask, s, &t); n >= 0 {
				consider(n, true)
			}
		}
		for i := 0; more && i < len(order.Nodes); i++ {
			if n := order.Nodes[i]; s.Owned[n] == owned {
				more = consider(n, false)
			}
		}
	}
	// Slots that are left are for nodes that will have to wait at budgets, and then for
	// those that use their budgets up themselves.
	for _, ask = range []demand{{eager: order.Eager}, {eager: order.Eager, eaten: true}} {
		waits := v.Waits
		v.Waits = nil
		for _, x := range waits {
			if !more || x.Why != WaitsForBudget {
				v.Waits = append(v.Waits, x)
			} else {
				more = consider(x.Node, false)
			}
		}
		if idle() && !(canary && t.atWork > 0) {
			// There is no way around moving some pods twice, or having some without a place.
			if n := l.gentlest(in, order.Nodes, ask, s, &t, putOff); n >= 0 {
				consider(n, true)
			}
		}
	}
	return v
}

// start counts a node that is started. wasOut: it has a slot already.
func (t *tally) start(n *node, wasOut bool) {
	t.atWork++
	if !wasOut {
		t.take(n)
	}
}

// spare is how many more pods may be put where they will have to move again.
func (l *ledger) spare(in *Intent, s *State) int {
	left, again := 0, 0
	for i := range l.nodes {
		if s.Stage[i] == Waiting || s.Stage[i] == Leaving {
			left += l.Staying(i)
		}
		again += l.again[i]
	}
	return spareMoves(in, s.Total) - max(0, s.Evicted+left-s.Total) - again
}

// spareMoves is how many pods of a run may be planned to move twice. Three tenths of
// what the Intent allows are kept for those that do not land where they are expected
// to. Of 1,000 pods up to 14 were, in a dozen runs on 50 nodes, but for one with 28,
// which would be too many.
func spareMoves(in *Intent, pods int) int {
	const planned = 0.7
	return int(math.Min((in.MaxMoves-1)*planned*float64(pods), math.MaxInt32))
}

// obstacle is what keeps a node from being started, but for room.
func (l *ledger) obstacle(in *Intent, ask demand, s *State, t *tally, n int) Wait {
	x := &l.nodes[n]
	out, zone, outControlPlane := t.out, t.outByZone[x.zone], t.outControlPlane
	if s.Out[n] { // by itself it is in nobody's way
		out, zone = out-1, zone-1
		if x.controlPlane {
			outControlPlane--
		}
	}
	switch {
	case t.atWork >= in.MaxUnavailable, out >= in.MaxUnavailable && !s.Out[n]:
		return Wait{Node: n, Why: WaitsForSlot}
	case x.controlPlane && outControlPlane > 0:
		return Wait{Node: n, Why: WaitsForControlPlane}
	case in.MaxUnavailablePerZone > 0 && zone >= in.MaxUnavailablePerZone:
		return Wait{Node: n, Why: WaitsForZone}
	}
	if s.Owned[n] && s.Out[n] {
		return Wait{}
	}
	if b := l.shortBudget(ask, s.Now, n); b >= 0 {
		return Wait{Node: n, Why: WaitsForBudget, subject: b}
	}
	if q := l.brokenSet(n); q >= 0 {
		return Wait{Node: n, Why: WaitsForQuorum, subject: q}
	}
	return Wait{}
}

// shortBudget returns a budget that has no room for the pods of a node; -1 if
// there is none.
func (l *ledger) shortBudget(ask demand, now time.Time, n int) int {
	pods := l.nodes[n].pods
	for _, i := range pods {
		if p := &l.pods[i]; p.gated && !p.stuck {
			l.wanted[p.budget]++
		}
	}
	short := -1
	for _, i := range pods {
		p := &l.pods[i]
		if !p.gated || p.stuck || l.wanted[p.budget] == 0 {
			continue
		}
		b, wanted := &l.budgets[p.budget], l.wanted[p.budget]
		l.wanted[p.budget] = 0
		if short >= 0 {
			continue // only to clear wanted
		}
		claims := l.claims[p.budget]
		within := ask.eager == 0 || claims+wanted <= b.allowed+(ask.eager-1)*(b.atBest-1)
		switch {
		case b.allowed > 0 && (within || claims == 0):
			// With no claims but its own the node waits for nobody but itself.
		case ask.eaten && b.allowed <= 0 && b.eatenOn[n]: // what is done to the node may be what helps
		case ask.eager != 1 && within && b.returns(now):
		default:
			short = p.budget
		}
	}
	return short
}

// brokenSet returns a quorum set that a node may not break now; -1 if there is none.
func (l *ledger) brokenSet(n int) int {
	for _, i := range l.nodes[n].pods {
		q := l.pods[i].set
		if q < 0 {
			continue
		}
		if set := &l.sets[q]; l.members[q] > 0 || set.missing > set.missingOn[n] {
			return q
		}
	}
	return -1
}

// Reason words what a node waits for.
func (w *World) Reason(in *Intent, x Wait) string {
	switch x.Why {
	case WaitsForSlot:
		return phrase.Count(in.MaxUnavailable, "node") + " may be out at once"
	case WaitsForZone:
		return phrase.Count(in.MaxUnavailablePerZone, "node") + " of a zone may be out at once"
	case WaitsForControlPlane:
		return "control-plane nodes go one at a time"
	case WaitsForFirst:
		return "no other goes until the first node is done"
	case WaitsForBudget:
		b := w.budgets[x.subject].source
		return fmt.Sprintf("budget %s/%s has no room for its pods", b.Namespace, b.Name)
	case WaitsForQuorum:
		return fmt.Sprintf("a member of %s is away", w.sets[x.subject].source.Object())
	case WaitsForRoom:
		return "its pods would find no place now"
	case WaitsForLanding:
		return "its pods would have to move again"
	}
	return ""
}

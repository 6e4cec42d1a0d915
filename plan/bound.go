// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"time"
)

// Bound is a time in which the nodes cannot be maintained, whatever the order:
// if only one of the limits is looked at, and every pod starts as quickly as the
// quickest of its workload did.
type Bound struct {
	// Limit names what is in short supply.
	Limit Limit `json:"limit"`
	// Seconds is the least time that it leaves.
	Seconds float64 `json:"seconds"`
	// Subject is the budget, the StatefulSet or the zone, if there are several.
	Subject string `json:"subject,omitempty"`
}

// Limit is what bounds the time from below.
type Limit string

const (
	LimitNode         Limit = "longest-node"  // one node takes that long
	LimitSlots        Limit = "slots"         // so many nodes may be out at once
	LimitLanding      Limit = "landing"       // so many pods can land on finished nodes
	LimitBudget       Limit = "budget"        // the pods of one budget go one after the other
	LimitQuorum       Limit = "quorum"        // the members of one set do
	LimitControlPlane Limit = "control-plane" // control-plane nodes do
	LimitZone         Limit = "zone"          // so many nodes of one zone may be out
)

// bounds returns the largest bound of each kind for a run that begins, the
// largest first.
func (w *World) bounds(in *Intent, targets []int) []Bound {
	least := make([]time.Duration, len(targets))
	for i, n := range targets {
		least[i] = w.least(in, n)
	}
	list := []Bound{
		bound(LimitNode, "", slices.Max(least)),
		bound(LimitSlots, "", slotBound(least, in.MaxUnavailable)),
		bound(LimitLanding, "", w.landingBound(in, targets, slices.Min(least))),
	}
	list = append(list, w.chains(in, targets)...)
	var controlPlane time.Duration
	zones := make([]time.Duration, w.zones)
	zoneNames := make([]string, w.zones)
	for i, n := range targets {
		if w.nodes[n].controlPlane {
			controlPlane += least[i]
		}
		zones[w.nodes[n].zone] += least[i]
		zoneNames[w.nodes[n].zone] = w.snapshot.Nodes[n].Labels[zoneLabel]
	}
	list = append(list, bound(LimitControlPlane, "", controlPlane))
	if in.MaxUnavailablePerZone > 0 {
		for z, sum := range zones {
			list = append(list, bound(LimitZone, zoneNames[z], sum/time.Duration(in.MaxUnavailablePerZone)))
		}
	}
	slices.SortStableFunc(list, func(a, b Bound) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Subject, b.Subject))
	})
	seen := map[Limit]bool{}
	return slices.DeleteFunc(list, func(b Bound) bool {
		old := seen[b.Limit]
		seen[b.Limit] = true
		return old || b.Seconds == 0
	})
}

func bound(limit Limit, subject string, t time.Duration) Bound {
	return Bound{Limit: limit, Subject: subject, Seconds: t.Seconds()}
}

// least is the time that a node takes if nothing is in its way: its pods, those
// of one budget or one set after one another, the work, and the soak.
func (w *World) least(in *Intent, n int) time.Duration {
	var longest time.Duration
	perBudget, perSet := map[int][]time.Duration{}, map[int][]time.Duration{}
	for _, i := range w.nodes[n].pods {
		p := &w.pods[i]
		longest = max(longest, w.workloads[p.workload].termination)
		if p.queues() {
			perBudget[p.budget] = append(perBudget[p.budget], w.held(p))
		}
		if p.votes() {
			perSet[p.set] = append(perSet[p.set], w.held(p))
		}
	}
	for b, held := range perBudget {
		longest = max(longest, chain(held, w.budgets[b].atBest))
	}
	for _, held := range perSet {
		longest = max(longest, chain(held, 1))
	}
	return longest + in.Work + in.Soak
}

// queues tells whether the eviction of a pod takes something from a budget and
// gives it back: pods that are not healthy go by other rules, and for good go those
// that nobody replaces.
func (p *pod) queues() bool { return p.gated && !p.stuck && p.healthy && p.replaced }

// votes tells whether no other member of a quorum set goes while the pod is away.
func (p *pod) votes() bool { return p.set >= 0 && p.healthy && p.replaced }

// held is for how long the eviction of a pod takes from its budget, at the least.
func (w *World) held(p *pod) time.Duration {
	x := &w.workloads[p.workload]
	if p.afterwards {
		return x.quickest + x.termination
	}
	return x.quickest
}

// chain is when the last of several evictions can begin, if only so many may be
// under way at once: after all that the others before it have to share.
func chain(held []time.Duration, atOnce int) time.Duration {
	if atOnce <= 0 || len(held) <= atOnce {
		return 0
	}
	// Each of the rounds before the last takes as long as the shortest, at the least.
	return slices.Min(held) * time.Duration((len(held)-1)/atOnce)
}

// slotBound: the first node goes alone if there are more nodes than slots; the
// others share the slots.
func slotBound(least []time.Duration, slots int) time.Duration {
	var sum time.Duration
	for _, t := range least {
		sum += t
	}
	if len(least) <= slots {
		return slices.Max(least)
	}
	best := time.Duration(-1)
	for _, first := range least {
		if t := first + (sum-first)/time.Duration(slots); best < 0 || t < best {
			best = t
		}
	}
	return best
}

// chains are the bounds of the budgets and quorum sets.
func (w *World) chains(in *Intent, targets []int) []Bound {
	perBudget, perSet := make([][]time.Duration, len(w.budgets)), make([][]time.Duration, len(w.sets))
	last := make([]time.Duration, len(w.workloads)) // the shortest way from an eviction to the end of its node
	for i := range w.workloads {
		last[i] = w.workloads[i].termination + in.Work + in.Soak
	}
	tailBudget, tailSet := make([]time.Duration, len(w.budgets)), make([]time.Duration, len(w.sets))
	shortest := func(old, tail time.Duration) time.Duration {
		if old == 0 {
			return tail
		}
		return min(old, tail)
	}
	for _, n := range targets {
		for _, i := range w.nodes[n].pods {
			p := &w.pods[i]
			if p.queues() {
				perBudget[p.budget] = append(perBudget[p.budget], w.held(p))
				tailBudget[p.budget] = shortest(tailBudget[p.budget], last[p.workload])
			}
			if p.votes() {
				perSet[p.set] = append(perSet[p.set], w.held(p))
				tailSet[p.set] = shortest(tailSet[p.set], last[p.workload])
			}
		}
	}
	var list []Bound
	for b, held := range perBudget {
		if len(held) > 0 {
			source := w.budgets[b].source
			list = append(list, bound(LimitBudget, source.Namespace+"/"+source.Name, chain(held, w.budgets[b].atBest)+tailBudget[b]))
		}
	}
	for q, held := range perSet {
		if len(held) > 0 {
			list = append(list, bound(LimitQuorum, w.sets[q].source.Object().String(), chain(held, 1)+tailSet[q]))
		}
	}
	return list
}

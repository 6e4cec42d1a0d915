// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"cmp"
	"math"
	"slices"

	policyv1 "k8s.io/api/policy/v1"

	"refit.dev/refit/plan"
)

// This is the part of the checker that looks at a Plan once it is replayed: how each
// node and each pod ended, and what the Plan says of all of them.

// checkTimes looks at the visit of each node: started, empty, back, done.
func (c *checker) checkTimes() {
	work, soak := c.intent.Work.Seconds(), c.intent.Soak.Seconds()
	for n := range c.visits {
		v := &c.visits[n]
		if v.Start == nil {
			if v.Drained != nil || v.Back != nil || v.Done != nil || len(v.Moves) > 0 {
				c.fault("%s is worked on and was not started", v.Name)
			}
			continue
		}
		empty, settled := *v.Start, orNever(v.Back)
		for _, s := range c.steps {
			if s.from != n {
				continue
			}
			a := &c.apps[c.pods[s.pod].app]
			empty = max(empty, s.at+float64(a.ends()))
			if s.to >= 0 {
				settled = max(settled, s.lands+float64(c.starts(c.pods[s.pod].app)))
			}
		}
		switch {
		case v.Drained != nil && *v.Drained < empty:
			c.fault("%s is empty at %gs, before its pods are gone at %gs", v.Name, *v.Drained, empty)
		case (v.Drained == nil) != (v.Back == nil), v.Drained != nil && *v.Back != *v.Drained+work:
			c.fault("%s is empty at %g and back at %g", v.Name, orNever(v.Drained), orNever(v.Back))
		case v.Done != nil && (v.Back == nil || *v.Done < settled+soak):
			c.fault("%s is done at %gs, before %gs", v.Name, *v.Done, settled+soak)
		}
	}
}

// settleHomeless finds the pods that found no place to the end: no node would
// take them.
func (c *checker) settleHomeless() {
	c.now = math.MaxFloat64
	for i := range c.pods {
		if c.on[i] >= 0 || c.moved[i] == 0 || !c.replacedAt(i) {
			continue
		}
		if n := slices.IndexFunc(c.numbers(), func(n int) bool { return c.unfit(i, n) == "" }); n >= 0 && c.apps[c.pods[i].app].spread == 0 && !c.held() {
			c.fault("%s has found no place, and fits %s", c.pods[i].name, c.nodes[n].name)
		} else {
			c.homeless = append(c.homeless, i)
		}
	}
	c.now = 0
}

// held tells whether a node is never emptied, so that places are kept to the end
// for pods that never leave it.
func (c *checker) held() bool {
	return slices.ContainsFunc(c.visits, func(v plan.Node) bool { return v.Start != nil && v.Drained == nil })
}

// replacedAt tells whether there is a replacement of a pod that has moved.
func (c *checker) replacedAt(pod int) bool {
	p := &c.pods[pod]
	return c.apps[p.app].controlled() && (!p.leaving || c.moved[pod] > 1)
}

// checkEnd looks for a reason why a node is not done, in what is at the end.
func (c *checker) checkEnd() {
	c.now = 0
	for n := range c.visits {
		v := &c.visits[n]
		if v.Name == "" {
			continue
		}
		var stuck []int
		for i := range c.pods {
			if c.pods[i].node == n && c.apps[c.pods[i].app].leaves() && c.stuck(i) {
				stuck = append(stuck, i)
			}
		}
		for _, i := range stuck {
			if !slices.ContainsFunc(c.plan.Blockers, func(b finding) bool { return c.blames(b, i) }) {
				c.fault("%s can never be evicted, and is no blocker", c.pods[i].name)
			}
		}
		if len(stuck) > 0 && v.Start != nil {
			c.fault("%s is started, and %s can never be evicted", v.Name, c.pods[stuck[0]].name)
		}
		if len(stuck) == 0 && slices.ContainsFunc(c.plan.Blockers, func(b finding) bool {
			return b.Code == plan.NeverEvicted && c.pods[c.pod(b.Object.Name)].node == n
		}) {
			c.fault("a pod of %s is a blocker, and none is", v.Name)
		}
		if len(stuck) > 0 || v.Done != nil {
			continue
		}
		if why := c.unfinished(n); why == "" {
			c.fault("%s is not done, without a reason (it waits: %q)", v.Name, v.Waits)
		}
	}
}

// blames tells whether a blocker is about a pod, or its budget.
func (c *checker) blames(b finding, pod int) bool {
	if b.Code == plan.BudgetSyncFailed {
		return slices.ContainsFunc(c.budgetsOf(pod), func(x int) bool { return c.budgets[x].name == b.Object.Name })
	}
	return b.Code == plan.NeverEvicted && b.Object.Name == c.pods[pod].name
}

// stuck tells whether a pod can never be evicted, as things stand at the beginning.
func (c *checker) stuck(pod int) bool {
	p := &c.pods[pod]
	list := c.budgetsOf(pod)
	if p.pending || p.leaving || len(list) == 0 {
		return false
	}
	if len(list) > 1 {
		return true
	}
	b := &c.budgets[list[0]]
	expected, desired := c.count(b)
	healthy := c.town.healthy(b)
	if !p.healthy() && (b.policy == policyv1.AlwaysAllow || healthy >= desired && desired > 0) {
		return false
	}
	return b.uncomputable || expected <= 0 || c.full(b)-desired <= 0
}

// unfinished says why a node is not done at the end of all; "" if there is no reason.
func (c *checker) unfinished(n int) string {
	c.now = math.MaxFloat64
	defer func() { c.now = 0 }()
	v, in := &c.visits[n], &c.intent
	var started []int
	alone := false
	for i := range c.plan.Nodes {
		if x := &c.plan.Nodes[i]; x.Start != nil {
			alone = alone || len(started) == 0 && x.Done == nil && len(in.Nodes) > in.MaxUnavailable
			started = append(started, c.node(x.Name))
		}
	}
	switch {
	case v.Back != nil: // somebody who left it has no place
		for _, s := range c.steps {
			if s.from == n && slices.Contains(c.homeless, s.pod) {
				return "no place for " + c.pods[s.pod].name
			}
		}
		return ""
	case v.Start == nil:
		out, zone, planes, work := c.away(n, started, c.now)
		switch {
		case alone:
			return "the first one is not done"
		case c.nodes[n].inService() && out >= in.MaxUnavailable, work >= in.MaxUnavailable:
			return "slots"
		case in.MaxUnavailablePerZone > 0 && zone >= in.MaxUnavailablePerZone:
			return "zone"
		case c.nodes[n].controlPlane && planes > 0:
			return "control plane"
		}
	}
	for i := range c.pods {
		if c.on[i] != n || !c.apps[c.pods[i].app].leaves() {
			continue
		}
		if why := cmp.Or(c.refused(i), c.broken(i), c.shortOfMembers(i)); why != "" {
			return why
		}
	}
	return ""
}

func (c *checker) numbers() []int {
	list := make([]int, len(c.nodes))
	for i := range list {
		list[i] = i
	}
	return list
}

// checkSums holds the numbers of the Plan against its parts.
func (c *checker) checkSums() {
	p := c.plan
	end, complete, pods, moves := 0.0, len(p.Blockers) == 0, 0, 0
	for n := range c.visits {
		v := &c.visits[n]
		if v.Name == "" {
			continue
		}
		if v.Done == nil {
			complete = false
		} else {
			end = max(end, *v.Done)
		}
		for i := range c.pods {
			if p := &c.pods[i]; p.node == n && !p.leaving && c.apps[p.app].leaves() {
				pods++
			}
		}
	}
	for _, s := range c.steps {
		if !c.pods[s.pod].leaving {
			moves++
		}
	}
	if p.PredictedSeconds != end || p.Moves != moves || p.Pods != pods {
		c.fault("predicted %gs with %d moves of %d pods; the nodes say %gs, %d, %d", p.PredictedSeconds, p.Moves, p.Pods, end, moves, pods)
	}
	if !complete {
		return
	}
	if p.LowerBoundSeconds > p.PredictedSeconds {
		c.fault("a lower bound of %gs, and %gs predicted", p.LowerBoundSeconds, p.PredictedSeconds)
	}
	for _, b := range p.Bounds {
		if b.Seconds > p.PredictedSeconds || b.Seconds > p.LowerBoundSeconds {
			c.fault("bound %s %s of %gs, a lower bound of %gs, %gs predicted", b.Limit, b.Subject, b.Seconds, p.LowerBoundSeconds, p.PredictedSeconds)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"

	"refit.dev/refit/plan"
)

// checkDeadEnd holds it against the town whether a Plan rightly says, or does not say,
// that no node can be emptied however long the run waits. Waiting makes every pod
// healthy that may become so by itself, and finds a place for those that have none.
func (c *checker) checkDeadEnd() {
	said, open, emptied := 0, []int{}, false
	for i := range c.plan.Blockers {
		if c.plan.Blockers[i].Code == plan.NodeNeverEmptied {
			said++
		}
	}
	for n := range c.visits {
		v := &c.visits[n]
		if v.Name == "" {
			continue
		}
		emptied = emptied || v.Drained != nil
		if !slices.ContainsFunc(c.plan.Blockers, func(b finding) bool {
			return slices.ContainsFunc(c.podsOf(n), func(i int) bool { return c.blames(b, i) && c.stuck(i) })
		}) {
			open = append(open, n)
		}
	}
	switch {
	case said > 0 && emptied:
		c.fault("nodes are emptied, and it is said that none can be")
	case said > 0 && said != len(open):
		c.fault("it is said of %d nodes that they can never be emptied, of %d", said, len(open))
	}
	if emptied || len(open) == 0 {
		return
	}
	before, returns := slices.Clone(c.healthyFrom), false
	for i := range c.pods {
		if p := &c.pods[i]; p.leaving || !p.healthy() && c.apps[p.app].recent {
			c.healthyFrom[i], returns = 0, true
		}
	}
	for _, i := range c.homeless {
		c.healthyFrom[i], returns = 0, true
	}
	helps, slots := "", true
	for _, n := range open {
		why := c.unfinished(n)
		if why == "" {
			helps = c.visits[n].Name
		}
		slots = slots && why == "slots"
	}
	c.healthyFrom = before
	switch {
	case said > 0 && helps != "":
		c.fault("it is said that waiting does not help, and it helps %s", helps)
	case said == 0 && !returns && !slots:
		c.fault("no node can be emptied, nothing becomes better by itself, and that is not said")
	}
}

// podsOf are the pods that were on a node at the beginning, and have to leave.
func (c *checker) podsOf(n int) (list []int) {
	for i := range c.pods {
		if c.pods[i].node == n && c.apps[c.pods[i].app].leaves() {
			list = append(list, i)
		}
	}
	return list
}

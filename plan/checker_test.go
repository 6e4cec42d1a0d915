// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	policyv1 "k8s.io/api/policy/v1"

	"refit.dev/refit/plan"
)

// checker replays a Plan against the town that it was made for, with arithmetic of
// its own: it uses neither the forecast nor anything below it. What it finds wrong
// goes to faults.
//
// Topology spread is not judged: where a pod may go changes with every other one
// that comes or goes, and within one moment a Plan does not tell in which order they do.
//
// Where a Plan does not tell what happens at one moment in which order, or where a
// pod lands that found no place at first, the checker takes what is the best for
// the Plan: what it finds wrong is wrong.
type checker struct {
	*town
	plan   *plan.Plan
	faults []string

	visits []plan.Node // by number of the node
	steps  []step
	now    float64
	// Of pods: the node that each is on (-1: none, or not known), from when on it is
	// healthy, and how often it has moved.
	on          []int
	healthyFrom []float64
	moved       []int
	ending      []ending
	waiting     map[int]*step // pods that find a place later
	homeless    []int         // pods that find none to the end
}

// step is a Move.
type step struct {
	at, lands     float64 // lands later than at: there was no place before
	pod, from, to int
	note          string
}

// ending is an evicted pod that still terminates.
type ending struct {
	pod, on int
	until   float64
}

var never = math.Inf(1)

func checkPlan(t *town, p *plan.Plan) []string {
	c := &checker{town: t, plan: p, visits: make([]plan.Node, len(t.nodes)), waiting: map[int]*step{}}
	c.read()
	if len(c.faults) > 0 {
		return c.faults
	}
	c.checkSlots()
	c.replay()
	c.checkTimes()
	c.settleHomeless()
	c.checkEnd()
	c.checkDeadEnd()
	c.checkSums()
	return c.faults
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf("after %gs: ", c.now)+fmt.Sprintf(format, args...))
}

// read takes the Plan in: each node to be maintained is there once.
func (c *checker) read() {
	seen := map[int]bool{}
	for _, x := range c.plan.Nodes {
		n := c.node(x.Name)
		if n < 0 || seen[n] || !slices.Contains(c.intent.Nodes, x.Name) {
			c.fault("%s is in the plan, and should not be", x.Name)
			continue
		}
		seen[n] = true
		c.visits[n] = x
		for _, m := range x.Moves {
			pod := c.pod(strings.TrimPrefix(m.Pod, townNamespace+"/"))
			if pod < 0 {
				c.fault("unknown pod %s", m.Pod)
				continue
			}
			x := step{at: m.At, lands: m.At, pod: pod, from: n, to: c.node(m.To), note: m.Note}
			if m.Lands != nil {
				x.lands = *m.Lands
			}
			c.steps = append(c.steps, x)
		}
	}
	if len(seen) != len(c.intent.Nodes) {
		c.fault("%d of %d nodes are in the plan", len(seen), len(c.intent.Nodes))
	}
	slices.SortStableFunc(c.steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for i := range c.pods {
		p := &c.pods[i]
		c.on, c.moved = append(c.on, p.node), append(c.moved, 0)
		from := never
		if p.healthy() {
			from = 0
		}
		c.healthyFrom = append(c.healthyFrom, from)
	}
}

func orNever(t *float64) float64 {
	if t == nil {
		return never
	}
	return *t
}

// working tells whether a node is at work at a moment, the last of its visit not included.
func (c *checker) working(n int, at float64) bool {
	return orNever(c.visits[n].Start) <= at && at < orNever(c.visits[n].Done)
}

// checkSlots looks at the moments at which nodes start.
func (c *checker) checkSlots() {
	in := &c.intent
	var started []int
	for i := range c.plan.Nodes {
		x := &c.plan.Nodes[i]
		if x.Start == nil {
			continue
		}
		n := c.node(x.Name)
		c.now = *x.Start
		if len(started) > 0 && c.now < orNever(c.visits[started[len(started)-1]].Start) {
			c.fault("%s comes after one that starts later", x.Name)
		}
		if len(started) > 0 && len(in.Nodes) > in.MaxUnavailable && c.now < orNever(c.visits[started[0]].Done) {
			c.fault("%s starts, and %s was to be first alone", x.Name, c.nodes[started[0]].name)
		}
		out, zone, planes, work := c.away(n, started, c.now)
		wasOut := !c.nodes[n].inService()
		switch {
		case !wasOut && out+1 > in.MaxUnavailable, work+1 > in.MaxUnavailable:
			c.fault("%s starts: %d other nodes are out, %d at work, and %d may be", x.Name, out, work, in.MaxUnavailable)
		case in.MaxUnavailablePerZone > 0 && zone+1 > in.MaxUnavailablePerZone:
			c.fault("%s starts: %d others of its zone are out", x.Name, zone)
		case c.nodes[n].controlPlane && planes > 0:
			c.fault("%s starts: %d other control-plane nodes are out", x.Name, planes)
		}
		started = append(started, n)
	}
}

// away counts other nodes than one that are out at a moment: all of them, those
// of its zone, those of the control plane, and those at work.
func (c *checker) away(but int, started []int, at float64) (out, zone, planes, work int) {
	for i := range c.nodes {
		atWork := slices.Contains(started, i) && c.working(i, at)
		if i == but || !atWork && c.nodes[i].inService() {
			continue
		}
		out++
		if atWork {
			work++
		}
		if c.nodes[i].zone == c.nodes[but].zone {
			zone++
		}
		if c.nodes[i].controlPlane {
			planes++
		}
	}
	return out, zone, planes, work
}

// replay takes the steps one by one.
func (c *checker) replay() {
	for i := range c.steps {
		s := &c.steps[i]
		c.land(s.at)
		name, a := c.pods[s.pod].name, &c.apps[c.pods[s.pod].app]
		if c.on[s.pod] != s.from {
			c.fault("%s leaves %s, and is not there", name, c.nodes[s.from].name)
		}
		if v := &c.visits[s.from]; s.at < orNever(v.Start) || s.at > orNever(v.Drained) {
			c.fault("%s leaves %s, which is not being drained", name, v.Name)
		}
		if !a.leaves() {
			c.fault("%s leaves, and its DaemonSet would put it back", name)
		}
		c.checkBudget(s)
		c.checkQuorum(s)
		c.take(s)
	}
	c.land(never)
}

// land lets the pods that had no place find one, up to a moment, which is now then.
func (c *checker) land(until float64) {
	for {
		next := -1
		for i := range c.steps {
			if s := &c.steps[i]; c.waiting[s.pod] == s && s.lands <= until && (next < 0 || s.lands < c.steps[next].lands) {
				next = i
			}
		}
		if next < 0 {
			c.now = until
			return
		}
		s := &c.steps[next]
		c.now = s.lands
		delete(c.waiting, s.pod)
		c.settle(s)
	}
}

// settle puts the replacement of a pod where it is to run now.
func (c *checker) settle(s *step) {
	a := &c.apps[c.pods[s.pod].app]
	if why := c.unfit(s.pod, s.to); why != "" {
		c.fault("%s lands on %s: %s", c.pods[s.pod].name, c.nodes[s.to].name, why)
	}
	c.on[s.pod] = s.to
	from := c.now
	if a.kind == "StatefulSet" { // the new one is made when the old one is gone
		from = max(from, s.at+float64(a.ends()))
	}
	c.healthyFrom[s.pod] = from + float64(c.starts(c.pods[s.pod].app))
}

// take makes the step.
func (c *checker) take(s *step) {
	p := &c.pods[s.pod]
	a := &c.apps[p.app]
	c.ending = append(c.ending, ending{s.pod, s.from, s.at + float64(a.ends())})
	c.on[s.pod], c.healthyFrom[s.pod] = -1, never
	c.moved[s.pod]++
	replaced := c.replacedAt(s.pod)
	switch {
	case !replaced && s.to >= 0:
		c.fault("%s lands on %s, and nobody replaces it", p.name, c.nodes[s.to].name)
	case !replaced:
	case s.to >= 0 && s.lands > s.at:
		c.waiting[s.pod] = s
	case s.to >= 0:
		c.settle(s)
	case s.note == "":
		c.fault("%s goes nowhere without a note", p.name)
	}
}

// well counts the healthy pods of a budget now.
func (c *checker) well(apps []int) int {
	n := 0
	for i := range c.pods {
		if slices.Contains(apps, c.pods[i].app) && c.healthyFrom[i] <= c.now {
			n++
		}
	}
	return n
}

// refused says why the Eviction API refuses a pod now; "" if it does not.
func (c *checker) refused(pod int) string {
	p := &c.pods[pod]
	if (p.pending || p.leaving) && c.moved[pod] == 0 {
		return ""
	}
	list := c.budgetsOf(pod)
	switch {
	case len(list) == 0:
		return ""
	case len(list) > 1:
		return "several budgets select it"
	}
	b := &c.budgets[list[0]]
	expected, desired := c.count(b)
	well := c.well(b.apps)
	if c.healthyFrom[pod] > c.now && (b.policy == policyv1.AlwaysAllow || well >= desired && desired > 0) {
		return ""
	}
	if b.uncomputable {
		return fmt.Sprintf("budget %s cannot be computed", b.name)
	}
	if expected <= 0 || well-desired <= 0 {
		return fmt.Sprintf("budget %s wants %d of %d healthy, and %d are", b.name, desired, expected, well)
	}
	return ""
}

func (c *checker) checkBudget(s *step) {
	if why := c.refused(s.pod); why != "" {
		c.fault("%s is evicted: %s", c.pods[s.pod].name, why)
	}
}

// broken says which other member of a pod's quorum is away now; "" if none is.
func (c *checker) broken(pod int) string {
	app := c.pods[pod].app
	a := &c.apps[app]
	if !a.quorum() || c.healthyFrom[pod] > c.now { // one that is away does not go away
		return ""
	}
	if well := c.well([]int{app}); well < a.replicas {
		return fmt.Sprintf("%d of %d members of %s are there", well, a.replicas, a.name)
	}
	return ""
}

// shortOfMembers says whether a member of a pod's quorum is away for good, and not
// because of the node that the pod is on. Members that are not healthy stay then, too.
func (c *checker) shortOfMembers(pod int) string {
	app := c.pods[pod].app
	if !c.apps[app].quorum() {
		return ""
	}
	for i := range c.pods {
		if c.pods[i].app == app && c.on[i] != c.on[pod] && c.healthyFrom[i] > c.now {
			return c.pods[i].name + " is away"
		}
	}
	return ""
}

func (c *checker) checkQuorum(s *step) {
	if why := c.broken(s.pod); why != "" {
		c.fault("%s is evicted: %s", c.pods[s.pod].name, why)
	}
}

// unfit says why the replacement of a pod does not fit a node now; "" if it does.
func (c *checker) unfit(pod, node int) string {
	p, n := &c.pods[pod], &c.nodes[node]
	a := &c.apps[p.app]
	v := &c.visits[node]
	switch {
	case !n.inService(), orNever(v.Start) < c.now && c.now < orNever(v.Back):
		return "it is out"
	case n.dedicated && !a.tolerant:
		return "it has a taint"
	case a.fast && !n.fast:
		return "its labels are others"
	case a.zonal && n.zone != p.zone:
		return "its zone is another one"
	}
	used := usage{a.cpu, a.memory, 1}
	var clash string
	each := func(other int) {
		b := &c.apps[c.pods[other].app]
		used.cpu += b.cpu
		used.memory += b.memory
		used.pods++
		switch {
		case a.port > 0 && a.port == b.port:
			clash = "the port is taken by " + c.pods[other].name
		case a.apart && c.pods[other].app == p.app:
			clash = "next to " + c.pods[other].name
		}
	}
	for i := range c.pods {
		if c.on[i] == node {
			each(i)
		}
	}
	for _, e := range c.ending {
		if e.on == node && e.until > c.now {
			each(e.pod)
		}
	}
	if used.cpu > n.cpu || used.memory > n.memory || used.pods > n.pods {
		return fmt.Sprintf("with it %dm, %dMi in %d pods of %dm, %dMi, %d pods", used.cpu, used.memory, used.pods, n.cpu, n.memory, n.pods)
	}
	return clash
}

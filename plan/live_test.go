// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	"pgregory.net/rapid"

	"refit.dev/refit/plan"
)

// TestAnyDecisionKeepsTheRules asks what may be started in the middle of random runs:
// some nodes are done, some are being emptied, some have failed.
func TestAnyDecisionKeepsTheRules(t *testing.T) {
	for shard := range shards {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				x := randomTown(t, shard)
				g := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "run"), 1)) //nolint:gosec // the seed is rapid's
				r := midway(x, g)
				before := encode(r.state)
				v := r.world.Decide(&x.intent, &r.order, r.state)
				r.check(v)
				if again := r.world.Decide(&x.intent, &r.order, r.state); encode(v) != encode(again) || encode(r.state) != before {
					r.fault("the second decision is another one, or the state has changed: %s, %s", encode(v), encode(again))
				}
				if len(r.faults) > 0 {
					t.Fatalf("%s\n%s\n%s\n%s", strings.Join(r.faults, "\n"), before, encode(v), x.draw())
				}
			})
		})
	}
}

// run is a town in the middle of a run, for which a decision is checked. Nodes have
// the same numbers in the town, whose names are sorted, and in the world.
type run struct {
	*town
	world  *plan.World
	state  *plan.State
	order  plan.Order
	faults []string
}

// midway makes a run of a town: nodes that are being emptied are cordoned.
func midway(x *town, g *rand.Rand) *run {
	stages := map[int]plan.Stage{}
	var order []int
	for _, name := range x.intent.Nodes {
		n := x.node(name)
		order = append(order, n)
		switch g.IntN(6) {
		case 0:
			stages[n] = plan.Leaving
			x.nodes[n].cordoned = true
		case 1:
			stages[n] = plan.Settling
		case 2:
			stages[n] = plan.Done
		case 3:
			stages[n] = plan.Uninvolved
			x.nodes[n].cordoned = x.nodes[n].cordoned || g.IntN(2) == 0
		}
	}
	r := &run{town: x, world: x.world()}
	r.state = r.world.NewState(&x.intent)
	for n, stage := range stages {
		r.state.Stage[n] = stage
	}
	r.state.Evicted = g.IntN(1 + r.state.Total)
	g.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	r.order = plan.Order{Nodes: order, Eager: g.IntN(3)}
	return r
}

func (r *run) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *run) atWork(n int) bool {
	return r.state.Stage[n] == plan.Leaving || r.state.Stage[n] == plan.Settling
}

// check looks at each node that is started, with those before it at work already.
func (r *run) check(v plan.Verdict) {
	in := &r.intent
	done := slices.Contains(r.state.Stage, plan.Done)
	was := slices.Clone(r.state.Stage)
	for _, n := range v.Start {
		if r.state.Stage[n] != plan.Waiting || !slices.Contains(r.order.Nodes, n) {
			r.fault("%s is started, and does not wait", r.nodes[n].name)
		}
		if why := r.obstacle(n); why != "" {
			r.fault("%s is started: %s", r.nodes[n].name, why)
		}
		if !done && len(in.Nodes) > in.MaxUnavailable && r.others(n) > 0 {
			r.fault("%s is started, and the first node is to go alone", r.nodes[n].name)
		}
		r.state.Stage[n] = plan.Leaving
	}
	r.state.Stage = was
	if len(v.Start) > 0 || slices.ContainsFunc(r.numbers(), r.atWork) {
		return
	}
	for _, n := range r.order.Nodes {
		if why := r.obstacle(n); r.state.Stage[n] == plan.Waiting && why == "" {
			r.fault("nothing is at work, nothing is started, and %s could be", r.nodes[n].name)
		}
	}
}

func (r *run) numbers() []int {
	list := make([]int, len(r.nodes))
	for i := range list {
		list[i] = i
	}
	return list
}

// others is how many other nodes are at work.
func (r *run) others(but int) int {
	n := 0
	for i := range r.nodes {
		if i != but && r.atWork(i) {
			n++
		}
	}
	return n
}

// obstacle says why a node may not be started now; "" if it may.
func (r *run) obstacle(n int) string {
	in := &r.intent
	out, zone, planes := 0, 0, 0
	for i := range r.nodes {
		if i == n || !r.atWork(i) && r.nodes[i].inService() {
			continue
		}
		out++
		if r.nodes[i].zone == r.nodes[n].zone {
			zone++
		}
		if r.nodes[i].controlPlane {
			planes++
		}
	}
	switch {
	case r.nodes[n].inService() && out >= in.MaxUnavailable, r.others(n) >= in.MaxUnavailable:
		return fmt.Sprintf("%d others are out, %d at work, %d may be", out, r.others(n), in.MaxUnavailable)
	case in.MaxUnavailablePerZone > 0 && zone >= in.MaxUnavailablePerZone:
		return fmt.Sprintf("%d others of its zone are out", zone)
	case r.nodes[n].controlPlane && planes > 0:
		return "another control-plane node is out"
	}
	for i := range r.pods {
		if r.pods[i].node != n || !r.apps[r.pods[i].app].leaves() {
			continue
		}
		if why := r.exhausted(i); why != "" {
			return why
		}
		if why := r.split(i); why != "" {
			return why
		}
	}
	return ""
}

// exhausted says that the budget of a pod has no room at all now, and that what uses it
// up is elsewhere. Pods that can never be evicted are no matter of a decision.
func (r *run) exhausted(pod int) string {
	p := &r.pods[pod]
	list := r.budgetsOf(pod)
	if p.pending || p.leaving || len(list) != 1 {
		return ""
	}
	b := &r.budgets[list[0]]
	expected, desired := r.count(b)
	well := r.healthy(b)
	if expected <= 0 || r.full(b) <= desired || well > desired && !b.uncomputable || !p.healthy() && (b.policy == policyv1.AlwaysAllow || well >= desired && desired > 0) {
		return ""
	}
	for i := range r.pods {
		if q := &r.pods[i]; slices.Contains(b.apps, q.app) && q.node == p.node && !q.healthy() {
			return "" // it is the node itself that may help
		}
	}
	if b.uncomputable {
		return fmt.Sprintf("budget %s cannot be computed", b.name)
	}
	return fmt.Sprintf("budget %s wants %d healthy, and %d are", b.name, desired, well)
}

// split says that another member of a pod's quorum is away, or about to leave.
func (r *run) split(pod int) string {
	p := &r.pods[pod]
	if !r.apps[p.app].quorum() {
		return ""
	}
	for i := range r.pods {
		q := &r.pods[i]
		if q.app != p.app || q.node == p.node && q.node >= 0 {
			continue
		}
		if !q.healthy() || r.state.Stage[q.node] == plan.Leaving {
			return q.name + " is away, or leaves"
		}
	}
	return ""
}

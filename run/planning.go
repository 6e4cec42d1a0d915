// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// intent is the Spec as the planner sees it; slots is how many nodes may be out at once.
func (s *Spec) intent(slots int) *plan.Intent {
	in := &plan.Intent{
		MaxUnavailable: slots, MaxUnavailablePerZone: s.MaxUnavailablePerZone, MaxMoves: s.MaxMoves,
		Work: s.WorkEstimate.Duration, Soak: s.Soak.Duration,
	}
	for _, n := range s.Nodes {
		in.Nodes = append(in.Nodes, n.Name)
	}
	return in
}

// view is the cluster as the planner sees it.
func (s *Spec) view(snapshot *cluster.Snapshot) View {
	v := View{World: plan.NewWorld(snapshot, s.drainRules(func() time.Time { return snapshot.Time }))}
	for _, n := range snapshot.Nodes {
		v.Nodes = append(v.Nodes, n.Node)
	}
	return v
}

func (s *Spec) drainRules(now func() time.Time) plan.Drain {
	options, err := s.Drain.options(s.Run, nil)
	if err != nil {
		// Every Spec was checked when it was made or read: validate.
		return plan.Drain{Leaves: func(*cluster.Pod) bool { return true }}
	}
	rules := plan.Drain{
		Leaves:  func(p *cluster.Pod) bool { return options.Leaves(p, now()) },
		Timed:   s.Drain.SkipWaitForDelete.Duration > 0,
		Ungated: s.Drain.DisableEviction,
	}
	if s.SurgeSingletons {
		rules.Surges = func(p *cluster.Pod) bool { return singleton(p) != nil }
	}
	return rules
}

// order is the one that the run was begun with. One that was begun without goes
// by name, workers first. Nodes that gave their turn back go last.
func (s *Spec) order(w *plan.World, nodes map[string]*NodeStatus) *plan.Order {
	o := &plan.Order{Eager: s.Eager}
	for _, name := range s.Order {
		if n, known := w.Node(name); known {
			o.Nodes = append(o.Nodes, n)
		}
	}
	if len(s.Order) == 0 {
		o = w.ByName(s.intent(1))
	}
	retreats := func(n int) int {
		if status := nodes[w.Name(n)]; status != nil {
			return status.Retreats
		}
		return 0
	}
	slices.SortStableFunc(o.Nodes, func(a, b int) int { return cmp.Compare(retreats(a), retreats(b)) })
	return o
}

// adopt takes over the order of a plan.
func (s *Spec) adopt(p *plan.Plan) {
	s.Order, s.Eager, s.Pods = nil, p.Eager, p.Pods
	for _, n := range p.Nodes {
		s.Order = append(s.Order, n.Name)
	}
}

// plan finds the order of the run.
func (p *Prepared) plan(v View) error {
	in := p.Spec.intent(p.Spec.MaxUnavailable.Of(len(v.Nodes)))
	made, err := plan.Make(v.World, in)
	if err != nil {
		return &InputError{err}
	}
	p.Plan, p.Ground = made, v.World.GroundOf(in)
	p.Spec.adopt(made)
	return nil
}

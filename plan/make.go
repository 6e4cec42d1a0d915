// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"refit.dev/refit/cluster"
)

// Make plans a run that begins now. The error is about the Intent.
func Make(w *World, in *Intent) (*Plan, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	var targets, able []int
	for _, name := range in.Nodes {
		n, known := w.Node(name)
		if !known {
			return nil, fmt.Errorf("node %s does not exist", name)
		}
		targets = append(targets, n)
		if !w.blocked(n) {
			able = append(able, n)
		}
	}
	p := &Plan{Slots: in.MaxUnavailable, Eager: 1, Bounds: []Bound{}, Nodes: []Node{}, Blockers: w.blockers(targets), Warnings: []cluster.Finding{}}
	for _, n := range targets {
		p.Pods += w.Staying(n)
	}
	if best := w.best(in, able); best != nil {
		p.Bounds = w.bounds(in, able)
		p.fill(best)
		deadEnd := best.deadEnd()
		p.Blockers = append(p.Blockers, deadEnd...)
		cluster.SortFindings(p.Blockers)
		p.Warnings = best.warnings(len(deadEnd) == 0)
	}
	for _, n := range targets {
		if why := w.barrier(n); why != "" {
			p.Nodes = append(p.Nodes, Node{Name: w.Name(n), UID: w.snapshot.Nodes[n].UID, Moves: []Move{}, Waits: why})
		}
	}
	return p, nil
}

// blocked tells whether a node can never be emptied.
func (w *World) blocked(n int) bool { return w.barrier(n) != "" }

// barrier says why a node can never be emptied; "" if it can.
func (w *World) barrier(n int) string {
	why := ""
	for _, i := range w.nodes[n].pods {
		switch p := &w.pods[i]; {
		case p.stuck:
			return "a pod of it can never be evicted"
		case why == "" && w.uncomputable(p):
			b := w.budgets[p.budget].source
			why = fmt.Sprintf("budget %s/%s cannot be computed", b.Namespace, b.Name)
		}
	}
	return why
}

// best imagines the orders that are worth it and returns the forecast that ends
// first; of those, the one with the fewest moves.
func (w *World) best(in *Intent, able []int) *forecast {
	if len(able) == 0 {
		return nil
	}
	state := w.NewState(in)
	var best *forecast
	for _, order := range w.orders(in, able) {
		if f := w.imagine(in, &order, state); best == nil || f.better(best) {
			best = f
		}
	}
	return best
}

func (f *forecast) better(than *forecast) bool {
	return cmp.Or(
		cmp.Compare(f.unfinished(), than.unfinished()),
		cmp.Compare(f.unemptied(), than.unemptied()),
		cmp.Compare(f.end(), than.end()),
		cmp.Compare(len(f.moves), len(than.moves)),
	) < 0
}

func (f *forecast) unfinished() int {
	return f.number(func(v *visit) bool { return v.done == never })
}

func (f *forecast) unemptied() int {
	return f.number(func(v *visit) bool { return v.drained == never })
}

func (f *forecast) number(is func(*visit) bool) int {
	n := 0
	for _, i := range f.order.Nodes {
		if is(&f.visits[i]) {
			n++
		}
	}
	return n
}

func (f *forecast) end() time.Duration {
	var end time.Duration
	for i := range f.visits {
		end = max(end, f.visits[i].done)
	}
	return end
}

// fill writes down a forecast.
func (p *Plan) fill(f *forecast) {
	p.PredictedSeconds, p.Eager = f.end().Seconds(), f.order.Eager
	if len(p.Bounds) > 0 {
		p.LowerBoundSeconds = p.Bounds[0].Seconds
	}
	moves := make([][]Move, len(f.nodes))
	for _, m := range f.moves {
		source := f.pods[m.pod].source
		x := Move{Pod: source.Namespace + "/" + source.Name, At: m.at.Seconds()}
		switch {
		case m.to >= 0:
			x.To = f.Name(m.to)
			if m.lands > m.at {
				x.Lands, x.Note = seconds(m.lands), "fits nowhere until a node is back"
			}
		case f.pods[m.pod].leaving:
			x.Note = "is terminating already"
		case f.pods[m.pod].replaced:
			x.Note = "fits nowhere"
		default:
			x.Note = "not replaced"
		}
		moves[m.from] = append(moves[m.from], x)
		if !f.pods[m.pod].leaving {
			p.Moves++
		}
	}
	order := slices.Clone(f.order.Nodes)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(f.visits[a].rank(), f.visits[b].rank()) })
	for _, n := range order {
		v := &f.visits[n]
		x := Node{
			Name: f.Name(n), UID: f.snapshot.Nodes[n].UID, Moves: moves[n],
			Start: seconds(v.start), Drained: seconds(v.drained), Back: seconds(v.back), Done: seconds(v.done),
		}
		if x.Moves == nil {
			x.Moves = []Move{}
		}
		if v.start != 0 {
			x.Waits = f.Reason(f.in, v.last)
		}
		p.Nodes = append(p.Nodes, x)
	}
	p.Peak = f.peak()
}

// rank orders nodes by their start; those that never start come last.
func (v *visit) rank() time.Duration {
	if v.start == never {
		return 1<<63 - 1
	}
	return v.start
}

// peak is the largest number of nodes at work at the same time.
func (f *forecast) peak() int {
	type edge struct {
		at  time.Duration
		off int
	}
	var edges []edge
	for _, n := range f.order.Nodes {
		if v := &f.visits[n]; v.start != never {
			edges = append(edges, edge{v.start, 1})
			if v.done != never {
				edges = append(edges, edge{v.done, -1})
			}
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.off, b.off)) })
	now, most := 0, 0
	for _, e := range edges {
		now += e.off
		most = max(most, now)
	}
	return most
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
	"refit.dev/refit/skew"
)

// makeHops turns the path into visits to nodes.
func (d *decision) makeHops(path skew.Path) {
	world := d.world(d.Snapshot)
	told := map[string]bool{}
	for _, h := range path.Hops {
		hop := Hop{To: h.To, ControlPlane: []NodeSteps{}, Workers: []NodeSteps{}}
		turns, proxies := d.by.turns(d, h)
		hop.KubeProxy = proxies
		for _, t := range turns {
			visit := d.visit(t, h.To)
			if t.kubelet {
				if n, known := world.Node(t.node); known && d.intent.Strategy != AllAtOnce {
					visit.Pods = world.Staying(n)
				}
				d.drainable(world, []string{t.node}, takesInPlace, told)
			}
			visit.Start = hop.Seconds
			hop.Seconds += visit.Seconds
			hop.ControlPlane = append(hop.ControlPlane, visit)
		}
		var workers []string
		for _, m := range h.Moves {
			if m.Stage == skew.StageWorker {
				workers = append(workers, m.Node)
			}
		}
		d.workers(world, &hop, workers, told)
		d.plan.Hops = append(d.plan.Hops, hop)
	}
}

// world is a cluster as the planner sees it.
func (d *decision) world(s *cluster.Snapshot) *plan.World {
	return plan.NewWorld(s, plan.Drain{Leaves: func(p *cluster.Pod) bool { return d.intent.drain().Leaves(p, s.Time) }})
}

// visit lists what is done on a node.
func (d *decision) visit(t turn, to skew.Version) NodeSteps {
	v := NodeSteps{Node: t.node, Role: t.role, Components: t.components, Steps: []Step{}}
	cordoned := false
	if n := d.Snapshot.Node(t.node); n != nil {
		v.UID, cordoned = n.UID, n.Spec.Unschedulable
		if mark, marked := cluster.MarkOf(n.Node); marked && !mark.WasUnschedulable {
			cordoned = false // refit's own, which it takes back
		}
	}
	add := func(steps ...Step) {
		v.Steps = append(v.Steps, steps...)
		for _, s := range steps {
			v.Seconds += s.Seconds
		}
	}
	takes := func(name StepName, t time.Duration) Step { return Step{Name: name, Seconds: t.Seconds()} }
	if t.role == Worker && d.intent.Strategy == Replace {
		add(takes(StepCreate, takesCreate), takes(StepJoin, takesJoin), takes(StepDrain, takesDrain), takes(StepRemove, takesRemove))
		return v
	}
	steps, programs := d.by.serving(d, t)
	add(steps...)
	if t.kubelet {
		inPlace := d.intent.Strategy == AllAtOnce
		v.StaysCordoned = cordoned
		if !inPlace {
			add(takes(StepDrain, takesDrain))
		}
		steps, more := d.by.empty(d, t)
		add(steps...)
		programs = append(programs, more...)
		add(takes(StepReady, takesReady))
		if !cordoned && !inPlace {
			add(takes(StepUncordon, takesUncordon))
		}
	}
	v.Packages = d.packageMoves(t.node, programs, to)
	return v
}

// packageMoves says which package goes to which exact version on a host.
func (d *decision) packageMoves(node string, names []string, to skew.Version) []PackageMove {
	h, looked := d.Hosts[node]
	var moves []PackageMove
	for _, name := range names {
		p, there := h.installed(name)
		if looked && h.Problem == "" && !there && name == "kubectl" {
			continue // a node can do without
		}
		move := PackageMove{Name: name, From: p.Version, To: h.offer(name, to), Held: p.Held}
		key := [2]string{node, name}
		if before := d.moved[key]; before != "" {
			move.From = before
		}
		d.moved[key] = move.To
		moves = append(moves, move)
	}
	return moves
}

// workers puts the workers of a hop into the planner's order.
func (d *decision) workers(world *plan.World, hop *Hop, names []string, told map[string]bool) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	visits := map[string]NodeSteps{}
	for _, name := range names {
		visits[name] = d.visit(d.by.worker(d, name), hop.To)
	}
	work := takesInPlace
	if d.intent.Strategy == Replace {
		// The room that the first new machines bring is there before anything is drained.
		world, work = d.world(d.Snapshot.WithNew(names[:min(len(names), max(1, d.intent.Surge))])), takesCreate+takesJoin+takesRemove
	}
	made := d.drainable(world, names, work, told)
	begin := hop.Seconds
	for i := range made {
		n := &made[i]
		v := visits[n.Name]
		delete(visits, n.Name)
		v.Pods, v.Moves = len(n.Moves), n.Moves
		v.Start = begin
		if n.Start != nil {
			v.Start = begin + *n.Start
		}
		if n.Start != nil && n.Done != nil {
			v.Seconds = *n.Done - *n.Start
		}
		hop.Seconds = max(hop.Seconds, v.Start+v.Seconds)
		hop.Workers = append(hop.Workers, v)
	}
	for _, name := range names { // whose node is gone from the snapshot: kept, so that nothing is lost
		if v, left := visits[name]; left { // or it does not go by an order
			v.Start = begin
			if d.intent.Strategy == AllAtOnce {
				hop.Seconds = max(hop.Seconds, begin+v.Seconds)
			}
			hop.Workers = append(hop.Workers, v)
		}
	}
}

// takesInPlace is the work on an empty node that is upgraded where it is.
const takesInPlace = takesPackages + takesNodeConfig + takesKubelet + takesReady

// atOnce is how many workers may be at work at once.
func (in Intent) atOnce() int {
	if in.Strategy == Replace {
		return max(1, in.Surge)
	}
	return max(1, in.MaxUnavailable)
}

// drainable lets the planner order nodes, and tells once for each node what keeps it
// from being emptied.
func (d *decision) drainable(world *plan.World, names []string, work time.Duration, told map[string]bool) []plan.Node {
	if d.intent.Strategy == AllAtOnce {
		return nil // nothing is drained
	}
	known := slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, found := world.Node(name); return !found })
	made, err := plan.Make(world, &plan.Intent{Nodes: known, MaxUnavailable: d.intent.atOnce(), MaxMoves: plan.DefaultMaxMoves, Work: work})
	if err != nil {
		return nil // no node is known
	}
	fresh := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return told[name] })
	if len(fresh) > 0 {
		d.plan.Findings = append(append(d.plan.Findings, made.Blockers...), made.Warnings...)
		for _, name := range fresh {
			told[name] = true
			d.refusals(name)
		}
	}
	return made.Nodes
}

// refusals tells of pods for which a drain would refuse the node without one more flag.
func (d *decision) refusals(node string) {
	n := d.Snapshot.Node(node)
	pods := map[string][]string{}
	for _, p := range n.Pods {
		if why, refused := d.intent.drain().Refuses(p, d.Snapshot.Time); refused {
			pods[why] = append(pods[why], p.Namespace+"/"+p.Name)
		}
	}
	reasons := make([]string, 0, len(pods))
	for why := range pods {
		reasons = append(reasons, why)
	}
	slices.SortFunc(reasons, cmp.Compare)
	for _, why := range reasons {
		d.add(FlagMissing, nodeObject(node), "cannot delete %s: %s", why, few(pods[why]))
	}
}

// describe lists what runs, and what it will be after each hop.
func (d *decision) describe(path skew.Path) {
	now := d.seen()
	states := make([]skew.Components, 0, len(path.Hops))
	for _, h := range path.Hops {
		for _, m := range h.Moves {
			now = now.After(m, h.To)
		}
		states = append(states, now)
	}
	for _, r := range d.running {
		c := Component{Name: r.Component, Node: r.Node, Current: r.Version, After: []string{}}
		last := r.Version
		for i, h := range path.Hops {
			last = d.after(r, last, states[i], h)
			c.After = append(c.After, last)
		}
		d.plan.Components = append(d.plan.Components, c)
	}
}

// after is the version of a component after a hop.
func (d *decision) after(r Running, last string, now skew.Components, h skew.Hop) string {
	if r.Component == Runtime {
		return last // refit leaves it alone
	}
	return d.by.brought(d, r, last, now, h)
}

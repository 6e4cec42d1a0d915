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
		var workers []string
		unfinished := d.halfDone(h)
		first := unfinished || d.needsApply(h.To)
		server := d.firstServer()
		if unfinished && !slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return m.Stage == skew.StageControlPlane && m.Node == server }) {
			h.Moves = slices.Insert(slices.Clone(h.Moves), 0, skew.Move{Stage: skew.StageControlPlane, Node: server})
		}
		for _, m := range h.Moves {
			role := ControlPlane
			switch {
			case m.Stage == skew.StageKubeProxy:
				hop.KubeProxy = true
				continue
			case m.Stage == skew.StageWorker:
				workers = append(workers, m.Node)
				continue
			case m.Stage == skew.StageControlPlaneKubelet:
				role = ControlPlaneKubelet
			case m.Stage == skew.StageControlPlane && !slices.ContainsFunc(m.Components, notKubelet) && (!unfinished || m.Node != server):
				role = ControlPlaneKubelet // all but its kubelet is there
			case first:
				role, first = FirstControlPlane, false
			}
			visit := d.visit(m.Node, role, h.To, m.MovesKubelet())
			if m.MovesKubelet() {
				if n, known := world.Node(m.Node); known && d.intent.Strategy != AllAtOnce {
					visit.Pods = world.Staying(n)
				}
				d.drainable(world, []string{m.Node}, takesInPlace, told)
			}
			visit.Start = hop.Seconds
			hop.Seconds += visit.Seconds
			hop.ControlPlane = append(hop.ControlPlane, visit)
		}
		d.workers(world, &hop, workers, told)
		d.plan.Hops = append(d.plan.Hops, hop)
	}
}

// world is a cluster as the planner sees it.
func (d *decision) world(s *cluster.Snapshot) *plan.World {
	return plan.NewWorld(s, plan.Drain{Leaves: func(p *cluster.Pod) bool { return d.intent.drain().Leaves(p, s.Time) }})
}

func notKubelet(c skew.Component) bool { return c != skew.Kubelet }

// needsApply tells whether kubeadm upgrade apply has still to be run for a hop: it
// writes the version into kubeadm's configuration, and what runs kubeadm upgrade node
// goes by that.
func (d *decision) needsApply(to skew.Version) bool {
	if d.Config == nil {
		return true
	}
	v, err := skew.Parse(d.Config.KubernetesVersion)
	return err != nil || v.Compare(to) != 0
}

// halfDone tells whether a hop brings no API server anywhere, and yet kubeadm has to be run
// for it: it was ended between the static pods and its record of the cluster or kube-proxy,
// which it writes last.
func (d *decision) halfDone(h skew.Hop) bool {
	if len(d.now.APIServers) == 0 || slices.ContainsFunc(d.now.APIServers, func(i skew.Instance) bool { return i.Version.Compare(h.To) != 0 }) {
		return false
	}
	proxies := slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return m.Stage == skew.StageKubeProxy })
	if proxies && len(h.Moves) > 1 { // if one of them is there, their DaemonSet is, and they follow
		proxies = !slices.ContainsFunc(d.now.KubeProxies, func(i skew.Instance) bool { return i.Version.Compare(h.To) == 0 })
	}
	return d.Config != nil && d.needsApply(h.To) || proxies
}

// firstServer is the node of the control plane on which kubeadm finishes what it left.
func (d *decision) firstServer() string {
	server := ""
	for _, i := range d.now.APIServers {
		if server == "" || i.Name < server {
			server = i.Name
		}
	}
	return server
}

// visit lists what is done on a node.
func (d *decision) visit(node string, role Role, to skew.Version, kubelet bool) NodeSteps {
	v := NodeSteps{Node: node, Role: role, Steps: []Step{}}
	cordoned := false
	if n := d.Snapshot.Node(node); n != nil {
		v.UID, cordoned = n.UID, n.Spec.Unschedulable
		if mark, marked := cluster.MarkOf(n.Node); marked && !mark.WasUnschedulable {
			cordoned = false // refit's own, which it takes back
		}
	}
	add := func(name StepName, takes time.Duration) {
		v.Steps = append(v.Steps, Step{Name: name, Seconds: takes.Seconds()})
		v.Seconds += takes.Seconds()
	}
	if role == Worker && d.intent.Strategy == Replace {
		add(StepCreate, takesCreate)
		add(StepJoin, takesJoin)
		add(StepDrain, takesDrain)
		add(StepRemove, takesRemove)
		return v
	}
	packages := []string{}
	if role != ControlPlaneKubelet {
		packages = append(packages, "kubeadm")
		add(StepPackages, takesPackages)
		switch role { //nolint:exhaustive // the visit for the kubelet alone has no kubeadm
		case FirstControlPlane:
			add(StepApply, takesControlPlane)
		case ControlPlane:
			add(StepNode, takesControlPlane)
		default:
			add(StepNode, takesNodeConfig)
		}
	}
	if kubelet {
		inPlace := d.intent.Strategy == AllAtOnce
		v.StaysCordoned = cordoned
		packages = append(packages, "kubelet", "kubectl")
		if !inPlace {
			add(StepDrain, takesDrain)
		}
		add(StepKubelet, takesKubelet)
		add(StepReady, takesReady)
		if !cordoned && !inPlace {
			add(StepUncordon, takesUncordon)
		}
	}
	v.Packages = d.packageMoves(node, packages, to)
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
		visits[name] = d.visit(name, Worker, hop.To, true)
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
	now := d.now
	states := make([]skew.Components, 0, len(path.Hops))
	for _, h := range path.Hops {
		for _, m := range h.Moves {
			now = now.After(m, h.To)
		}
		states = append(states, now)
	}
	known := brings()
	for _, r := range d.running {
		c := Component{Name: r.Component, Node: r.Node, Current: r.Version, After: []string{}}
		last := r.Version
		for i, h := range path.Hops {
			last = d.after(r, last, states[i], known[h.To.Minor], h)
			c.After = append(c.After, last)
		}
		d.plan.Components = append(d.plan.Components, c)
	}
}

// after is the version of a component after a hop.
func (d *decision) after(r Running, last string, now skew.Components, with bring, h skew.Hop) string {
	switch r.Component {
	case Runtime:
		return last // refit leaves it alone
	case Etcd, CoreDNS:
		brought := with.etcd
		if r.Component == CoreDNS {
			brought = with.coreDNS
		}
		moved := slices.ContainsFunc(h.Moves, func(m skew.Move) bool {
			return slices.Contains(m.Components, skew.APIServer) && (r.Component == CoreDNS || m.Node == r.Node)
		})
		switch {
		case !moved:
			return last
		case brought == "":
			return "" // nobody knows what that kubeadm brings
		case newerTag(last, brought):
			return last // kubeadm does not go back
		}
		return brought
	}
	for _, i := range now.Of(skew.Component(r.Component)) {
		if i.Name == r.Node {
			return i.Version.String()
		}
	}
	return last
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"
	"strings"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
	"refit.dev/refit/units"
)

// unitsMethod moves clusters whose components are services of systemd: binaries are put into
// their places, and services restarted.
type unitsMethod struct{}

// foreign: the control plane has to be found on a machine.
func (unitsMethod) foreign(d *decision) *cluster.Finding {
	if slices.ContainsFunc(d.running, func(r Running) bool { return r.Component == string(skew.APIServer) && r.Node != "" && !r.Static }) {
		return nil
	}
	f := d.finding(NotUnits, self(), "no kube-apiserver.service was found on the machine of a node: nothing is known of the control plane but that it answers as %s", cmp.Or(d.Snapshot.Server, "nothing"))
	return &f
}

// see: a kube-proxy that is a service moves with the kubelet of its node. Where one of them is
// older, both count as that. One that is a pod is left to whoever has put it there.
func (unitsMethod) see(d *decision, c skew.Components) skew.Components {
	proxies := slices.DeleteFunc(slices.Clone(c.KubeProxies), func(p skew.Instance) bool { return !d.serves(p.Name, string(skew.KubeProxy)) })
	c.KubeProxies, c.Kubelets = nil, slices.Clone(c.Kubelets)
	for i := range c.Kubelets {
		for _, p := range proxies {
			if p.Name == c.Kubelets[i].Name && p.Version.Compare(c.Kubelets[i].Version) < 0 {
				c.Kubelets[i].Version = p.Version
			}
		}
	}
	return c
}

// begun: each component is looked at by itself, so that nothing is left that is not seen.
func (unitsMethod) begun(*decision, skew.Hop) bool { return false }

// turns go by the way: with one API server all that is beside it moves in one visit; with
// several, etcd goes first everywhere, then API servers, then what talks to any of them.
func (m unitsMethod) turns(d *decision, h skew.Hop) (list []turn, proxies bool) {
	for _, move := range h.Moves {
		if move.Stage == skew.StageWorker || move.Stage == skew.StageKubeProxy {
			continue
		}
		t := turn{node: move.Node, role: ControlPlane, kubelet: move.MovesKubelet()}
		if !slices.ContainsFunc(move.Components, notKubelet) {
			t.role = ControlPlaneKubelet
		}
		for _, c := range move.Components {
			t.components = append(t.components, string(c))
		}
		if t.kubelet && d.serves(t.node, string(skew.KubeProxy)) {
			t.components = append(t.components, string(skew.KubeProxy))
		}
		list = append(list, t)
	}
	members := m.members(d, h.To)
	if len(members) == 1 && len(d.now.APIServers) == 1 && len(list) > 0 && list[0].node == members[0] {
		list[0].role = ControlPlane
		list[0].components = append([]string{Etcd}, list[0].components...)
		return list, false
	}
	var first []turn
	for _, node := range members {
		first = append(first, turn{node: node, role: ControlPlane, components: []string{Etcd}})
	}
	return append(first, list...), false
}

// members lists the nodes with a member of etcd that a release has a newer one for.
func (unitsMethod) members(d *decision, to skew.Version) []string {
	var nodes []string
	for _, n := range d.Snapshot.Nodes {
		h, looked := d.Hosts[n.Name]
		if !looked || !slices.ContainsFunc(h.Units, func(u Unit) bool { return u.Component == Etcd }) {
			continue
		}
		has, _ := h.installed(Etcd)
		if last := d.moved[[2]string{n.Name, Etcd}]; last != "" {
			has.Version = last
		}
		for _, o := range h.Offers[to.Minor].Packages {
			if o.Name == Etcd && o.Upstream.Compare(to) == 0 && (o.Version == "" || newerTag(o.Version, has.Version)) {
				nodes = append(nodes, n.Name)
			}
		}
	}
	return nodes
}

func (unitsMethod) worker(d *decision, node string) turn {
	components := slices.DeleteFunc(units.Node(), func(c string) bool { return c != units.Kubelet && !d.serves(node, c) })
	return turn{node: node, role: Worker, kubelet: true, components: components}
}

// serves tells whether a component is a service on the machine of a node. Of a machine that was
// not looked at nobody knows better.
func (d *decision) serves(node, component string) bool {
	h, looked := d.Hosts[node]
	return !looked || h.Problem != "" || slices.ContainsFunc(h.Units, func(u Unit) bool { return u.Component == component })
}

func (unitsMethod) serving(_ *decision, t turn) (steps []Step, programs []string) {
	return raises(t, units.Plane())
}

func (unitsMethod) empty(_ *decision, t turn) (steps []Step, programs []string) {
	return raises(t, units.Node())
}

// raises are the steps for those of the components that a visit raises.
func raises(t turn, components []string) (steps []Step, programs []string) {
	for _, c := range components {
		if slices.Contains(t.components, c) {
			steps = append(steps, Step{Name: StepName(c), Seconds: takesComponent.Seconds()})
			programs = append(programs, c)
		}
	}
	return steps, programs
}

// lacks lists the binaries that the source does not have in a version, of those that the host
// runs. An etcd that a release does not have stays as it is.
func (unitsMethod) lacks(h *Host, v skew.Version) []string {
	var missing []string
	for _, p := range h.Packages {
		if p.Name != Etcd && h.offer(p.Name, v) == "" {
			missing = append(missing, p.Name)
		}
	}
	return missing
}

func (unitsMethod) brought(d *decision, r Running, last string, now skew.Components, h skew.Hop) string {
	switch r.Component {
	case CoreDNS:
		return last // refit leaves it alone
	case Etcd:
		host := d.Hosts[r.Node]
		if offered := host.offer(Etcd, h.To); offered != "" && newerTag(offered, last) {
			return offered
		}
		return last
	case string(skew.Kubelet), string(skew.KubeProxy):
		if d.serves(r.Node, r.Component) && slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return m.Node == r.Node && m.MovesKubelet() }) {
			return h.To.String()
		}
		return last
	}
	return of(now, r, last)
}

// collectBinaries notes the sums of the binaries that the plan brings.
func (d *decision) collectBinaries() {
	for _, h := range d.plan.Hops {
		for _, v := range slices.Concat(h.ControlPlane, h.Workers) {
			for path, sum := range d.Hosts[v.Node].Binaries {
				if !strings.HasPrefix(path, h.To.String()+"/") {
					continue
				}
				if d.plan.Binaries == nil {
					d.plan.Binaries = map[string]string{}
				}
				d.plan.Binaries[path] = sum
			}
		}
	}
}

// running lists what runs where: what the cluster tells, and on machines with services what
// those do.
func (s *State) running() []Running {
	all := RunningOf(s.Snapshot)
	if s.Method != Units {
		return all
	}
	var found []Running
	for _, n := range s.Snapshot.Nodes {
		for _, u := range s.Hosts[n.Name].Units {
			if u.Component != string(skew.Kubelet) { // its Node tells
				found = append(found, Running{Component: u.Component, Node: n.Name, Version: u.Running})
			}
		}
	}
	if slices.ContainsFunc(found, func(r Running) bool { return r.Component == string(skew.APIServer) }) {
		all = slices.DeleteFunc(all, func(r Running) bool { return r.Component == string(skew.APIServer) && r.Node == "" })
	}
	all = slices.DeleteFunc(append(all, found...), func(r Running) bool { return r.Version == "" })
	slices.SortFunc(all, inOrder)
	return all
}

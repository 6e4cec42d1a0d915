// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// managedMethod is for control planes that somebody else runs: a cloud's command raises them, and
// what the API server says of its version is all that can be seen. Nodes give way to new ones.
type managedMethod struct{}

// foreign: a control plane that can be seen is not somebody else's.
func (managedMethod) foreign(d *decision) *cluster.Finding {
	for _, n := range d.Snapshot.Nodes {
		if why := d.plane(n); why != "" {
			f := d.finding(NotManaged, nodeObject(n.Name), "%s: the control plane is the cluster's own", why)
			return &f
		}
	}
	return nil
}

// see: the provider brings along what belongs to the control plane, and kube-proxy.
func (managedMethod) see(_ *decision, c skew.Components) skew.Components {
	c.KubeProxies, c.ControllerManagers, c.Schedulers, c.CloudControllerManagers = nil, nil, nil, nil
	return c
}

// seen is what the way is found by. For a goal that names no patch, whatever patch of its minor is there
// will do: providers choose it, and another one for nodes than for control planes.
func (d *decision) seen() skew.Components {
	c := d.by.see(d, d.now)
	if d.Method != Managed || d.plan.To.Patch != skew.Unknown {
		return c
	}
	for _, list := range []*[]skew.Instance{&c.APIServers, &c.Kubelets} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i].Version = skew.OfMinor((*list)[i].Version.Minor)
		}
	}
	return c
}

func (managedMethod) begun(*decision, skew.Hop) bool { return false }

// turns: a hop that moves the API server is one turn, of no node.
func (managedMethod) turns(_ *decision, h skew.Hop) (list []turn, proxies bool) {
	if slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return slices.Contains(m.Components, skew.APIServer) }) {
		list = append(list, turn{role: ManagedControlPlane})
	}
	return list, false
}

func (managedMethod) worker(_ *decision, node string) turn {
	return turn{node: node, role: Worker, kubelet: true}
}

func (managedMethod) serving(_ *decision, t turn) (steps []Step, programs []string) {
	if t.role == ManagedControlPlane {
		steps = []Step{{Name: StepRaise, Seconds: takesRaise.Seconds()}}
	}
	return steps, nil
}

func (managedMethod) empty(*decision, turn) (steps []Step, programs []string) { return nil, nil }

func (managedMethod) lacks(*Host, skew.Version) []string { return nil }

// brought: of what the provider brings along nobody knows which it is.
func (managedMethod) brought(_ *decision, r Running, last string, now skew.Components, h skew.Hop) string {
	switch r.Component {
	case string(skew.APIServer), string(skew.Kubelet):
		if slices.ContainsFunc(h.Moves, func(m skew.Move) bool {
			return m.Node == r.Node && slices.Contains(m.Components, skew.Component(r.Component))
		}) {
			return of(now, r, last)
		}
	case string(skew.KubeProxy), CoreDNS:
		if slices.ContainsFunc(h.Moves, func(m skew.Move) bool { return slices.Contains(m.Components, skew.APIServer) }) {
			return ""
		}
	}
	return last
}

func (managedMethod) check(d *decision) {
	if d.intent.Strategy != Replace && len(d.plan.Hops) > 0 {
		d.addHint(StrategyMethod, self(), "Use --strategy replace.", "nodes of a managed control plane give way to new ones, and are not upgraded where they are")
	}
	if len(d.plan.Hops) > 0 {
		d.add(ManagedUnseen, self(), "the control plane is known by what its API server says: static pods, etcd, certificates, flags and their backup are the provider's, and were not looked at")
	}
}

func (managedMethod) checkHost(*decision, string, *Host) {}

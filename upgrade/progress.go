// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/skew"
)

// Progress is what every node runs, and what is left until all of it is at one version.
type Progress struct {
	// Version is that of the newest API server, or the minor that it emulates; zero if none
	// is known.
	Version skew.Version   `json:"version"`
	Nodes   []NodeVersions `json:"nodes"`
	// Hosted is the version of an API server that is not to be seen as a pod; "" if
	// there are such pods.
	Hosted string `json:"hostedAPIServer,omitempty"`
	// CoreDNS are the versions of its pods, each once.
	CoreDNS []string `json:"coredns,omitempty"`
	// Left is what is older than Version, in the order in which it would move.
	Left []Left `json:"left"`
	// Problems are why what is left cannot be brought there by an upgrade.
	Problems []string `json:"problems,omitempty"`
}

// NodeVersions is a node and what runs on it, by component.
type NodeVersions struct {
	Name         string            `json:"name"`
	ControlPlane bool              `json:"controlPlane"`
	Ready        bool              `json:"ready"`
	Cordoned     bool              `json:"cordoned,omitempty"`
	Versions     map[string]string `json:"versions"`
	OS           string            `json:"os,omitempty"`
	Kernel       string            `json:"kernel,omitempty"`
}

// Left is a component that is behind.
type Left struct {
	Component string `json:"component"`
	Node      string `json:"node,omitempty"`
	Version   string `json:"version"`
}

// ProgressOf looks at a cluster, and at nothing else.
func ProgressOf(s *cluster.Snapshot) Progress {
	running := RunningOf(s)
	p := Progress{Nodes: []NodeVersions{}, Left: []Left{}}
	nodes := map[string]*NodeVersions{}
	for _, n := range s.Nodes {
		info := n.Status.NodeInfo
		p.Nodes = append(p.Nodes, NodeVersions{Name: n.Name, Ready: cluster.Ready(n.Node), Cordoned: n.Spec.Unschedulable,
			Versions: map[string]string{}, OS: info.OSImage, Kernel: info.KernelVersion})
	}
	for i := range p.Nodes {
		nodes[p.Nodes[i].Name] = &p.Nodes[i]
	}
	for _, r := range running {
		n := nodes[r.Node]
		switch {
		case r.Component == CoreDNS:
			p.CoreDNS = append(p.CoreDNS, r.Version)
		case n == nil:
			p.Hosted = r.Version
		default:
			n.Versions[r.Component] = r.Version
			n.ControlPlane = n.ControlPlane || r.Component == string(skew.APIServer)
		}
	}
	slices.Sort(p.CoreDNS)
	p.CoreDNS = slices.Compact(p.CoreDNS)
	c := components(s, running, func(string) bool { return false })
	if len(c.APIServers) > 0 {
		p.Version = actsAs(slices.MaxFunc(c.APIServers, func(a, b skew.Instance) int { return actsAs(a).Compare(actsAs(b)) }))
		p.left(c)
	}
	return p
}

// left finds what is behind, in the order of a path.
func (p *Progress) left(c skew.Components) {
	for _, component := range []skew.Component{skew.APIServer, skew.ControllerManager, skew.Scheduler, skew.KubeProxy, skew.Kubelet} {
		instances := slices.Clone(c.Of(component))
		slices.SortFunc(instances, func(a, b skew.Instance) int { return cmp.Compare(a.Name, b.Name) })
		for _, i := range instances {
			if actsAs(i).Compare(p.Version) < 0 {
				p.Left = append(p.Left, Left{Component: string(component), Node: i.Name, Version: i.Version.String()})
			}
		}
	}
	_, refusals := skew.FindPath(c, skew.Goal{Version: p.Version, AllowUnsupported: true})
	for _, r := range refusals {
		p.Problems = append(p.Problems, r.Message+"; "+r.Hint)
	}
}

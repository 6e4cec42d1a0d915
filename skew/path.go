// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import (
	"cmp"
	"fmt"
	"slices"
)

// WorkerHops says how often the kubelets of workers move on a way of several hops.
type WorkerHops string

// The ways to move workers.
const (
	// FewestHops moves a worker only when the policy leaves no other choice, and at the end.
	FewestHops WorkerHops = "fewest"
	// EachHop moves every worker at every hop: no kubelet is ever more than one minor behind.
	EachHop WorkerHops = "each"
)

// ParseWorkerHops reads fewest or each.
func ParseWorkerHops(text string) (WorkerHops, error) {
	switch w := WorkerHops(text); w {
	case FewestHops, EachHop:
		return w, nil
	}
	return "", fmt.Errorf("%q: want %s or %s", text, FewestHops, EachHop)
}

// Goal is where a Path is to lead.
type Goal struct {
	Version Version
	// Workers defaults to FewestHops.
	Workers WorkerHops
	// AllowUnsupported lets the goal be a minor that gets no fixes any more, or a pre-release.
	AllowUnsupported bool
}

// Path is the way of a whole cluster to a version, hop by hop. Between any two
// single changes of it the cluster is within the policy, if it was before the
// first; what was not is brought back by it and never gets worse.
type Path struct {
	Hops []Hop
}

// Hop raises the control plane by one minor at most.
type Hop struct {
	// To is the goal's version in the last hop. In one to a minor that API servers
	// have already it is the version of those, and otherwise a minor without a patch:
	// any patch of it will do.
	To Version
	// Moves are in their order.
	Moves []Move
}

// Stage is which part of a hop a Move belongs to.
type Stage string

// The stages of a hop, in their order.
const (
	StageControlPlane        Stage = "control-plane"         // API server and what is tied to it, a node at a time
	StageControllers         Stage = "controllers"           // controller managers and schedulers that talk to any API server
	StageKubeProxy           Stage = "kube-proxy"            // all of them: it is one DaemonSet
	StageControlPlaneKubelet Stage = "control-plane-kubelet" // kubelets beside API servers, that talk to any of them
	StageWorker              Stage = "worker"                // all other kubelets
)

// Move raises components to the version of the Hop, one after the other in this order.
type Move struct {
	Stage Stage
	// Node is where they run; "" for all of a DaemonSet.
	Node       string
	Components []Component
}

// MovesKubelet tells whether the node has to be empty for it: a kubelet is not
// replaced by one of another minor under running pods
// (https://kubernetes.io/releases/version-skew-policy/#kubelet-1).
func (m Move) MovesKubelet() bool { return slices.Contains(m.Components, Kubelet) }

// FindPath returns the way from what runs to a goal, or why there is none. A Path
// without hops is that of a cluster which is there already.
//
// Control planes move one minor at a time, and a hop that somebody has begun is
// finished first. In each hop the API servers go first with the controller manager
// and the scheduler that are tied to them (Instance.APIServer), and with the kubelet
// beside them if it is tied to them, too; otherwise that kubelet waits until no API
// server is older than it will be. Kubelets of control planes move at every hop, because
// kubeadm writes their configuration for the new minor when it moves the control plane.
func FindPath(c Components, goal Goal) (Path, []Refusal) {
	if refusals := refuse(c, goal); len(refusals) > 0 {
		return Path{}, refusals
	}
	oldest, newest := oldestOf(c.APIServers), newestOf(c.APIServers)
	w := walk{now: c.clone(), goal: goal, current: newest.Minor}
	for minor := oldest.Minor; minor <= goal.Version.Minor; minor++ {
		to := OfMinor(minor)
		switch minor {
		case goal.Version.Minor:
			to = goal.Version
		case newest.Minor:
			to = newest
		case oldest.Minor:
			to = oldest
		}
		w.hop(to)
	}
	return w.path, nil
}

// After returns what runs once a move to a version is made. The input is left as it is.
func (c Components) After(m Move, to Version) Components {
	c = c.clone()
	for _, component := range m.Components {
		list := *c.list(component)
		for i := range list {
			if m.Node == "" || list[i].Name == m.Node {
				list[i].raise(to)
			}
		}
	}
	return c
}

// raise brings an instance to a version, unless it is there or beyond.
func (i *Instance) raise(to Version) {
	if i.behind(to) {
		i.Version, i.Emulated = to, Version{}
	}
}

// behind tells whether an instance has still to be brought to a version.
func (i Instance) behind(to Version) bool {
	return i.minor() < to.Minor || i.Version.Compare(to) < 0
}

// list is where the instances of a component are.
func (c *Components) list(component Component) *[]Instance {
	switch component {
	case APIServer:
		return &c.APIServers
	case ControllerManager:
		return &c.ControllerManagers
	case Scheduler:
		return &c.Schedulers
	case CloudControllerManager:
		return &c.CloudControllerManagers
	case Kubelet:
		return &c.Kubelets
	case KubeProxy:
		return &c.KubeProxies
	case Kubectl:
		return &c.Kubectls
	}
	return new([]Instance)
}

func (c Components) clone() Components {
	for _, g := range c.groups() {
		*c.list(g.component) = sorted(g.instances)
	}
	return c
}

// newestOf and oldestOf return a version, going by what counts as its minor first.
func newestOf(instances []Instance) Version { return slices.MaxFunc(instances, byAge).counted() }

func oldestOf(instances []Instance) Version { return slices.MinFunc(instances, byAge).counted() }

func byAge(a, b Instance) int {
	return cmp.Or(cmp.Compare(a.minor(), b.minor()), a.Version.Compare(b.Version))
}

// counted is the version, or the minor that it emulates.
func (i Instance) counted() Version {
	if i.minor() != i.Version.Minor {
		return OfMinor(i.minor())
	}
	return i.Version
}

// Of returns the instances of a component.
func (c Components) Of(component Component) []Instance { return *c.list(component) }

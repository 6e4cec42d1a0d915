// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package skew

import "slices"

// walk makes a Path: it changes what runs as it goes.
type walk struct {
	now     Components
	goal    Goal
	current int // the minor of the newest API server in the beginning
	path    Path
}

// hop adds the hop to a version. One to a minor that API servers have already holds
// only what has to be brought there before the next, unless somebody has begun it and
// not finished. In one to a minor that some of them have left it is what their API
// server would leave behind when it follows.
func (w *walk) hop(to Version) {
	h := Hop{To: to}
	last := to.Minor == w.goal.Version.Minor
	due := func(i Instance) bool {
		if last {
			return i.behind(to)
		}
		return i.minor() < to.Minor
	}
	past := to.Minor < w.current
	unfinished := !past && (last || to.Minor > w.current || slices.ContainsFunc(w.now.APIServers, due))
	move := func(stage Stage, node string, components ...Component) {
		h.Moves = append(h.Moves, Move{Stage: stage, Node: node, Components: components})
		w.now = w.now.After(h.Moves[len(h.Moves)-1], to)
	}

	for _, node := range names(w.now.APIServers) {
		if components := w.dueOn(node, due, unfinished); len(components) > 0 {
			move(StageControlPlane, node, components...)
		}
	}
	for _, component := range []Component{ControllerManager, Scheduler} {
		for _, node := range names(filter(*w.now.list(component), due)) {
			move(StageControllers, node, component)
		}
	}
	if !past && w.proxiesMove(due, unfinished, to.Minor) {
		move(StageKubeProxy, "", KubeProxy)
	}
	for _, node := range names(filter(w.now.Kubelets, due)) {
		if w.controlPlane(node) && (unfinished || w.tooOldNext(node, to.Minor)) {
			move(StageControlPlaneKubelet, node, Kubelet)
		}
	}
	for _, node := range names(filter(w.now.Kubelets, due)) {
		if !past && !w.controlPlane(node) && (last || w.goal.Workers == EachHop || w.tooOldNext(node, to.Minor)) {
			move(StageWorker, node, Kubelet)
		}
	}
	if len(h.Moves) > 0 {
		w.path.Hops = append(w.path.Hops, h)
	}
}

// dueOn lists what moves together on a node of the control plane: the API server,
// what is tied to it, and the kubelet if that is tied to it as well.
func (w *walk) dueOn(node string, due func(Instance) bool, withKubelet bool) []Component {
	var components []Component
	for _, component := range []Component{APIServer, ControllerManager, Scheduler, Kubelet} {
		if component == Kubelet && !withKubelet {
			continue
		}
		here := filter(*w.now.list(component), func(i Instance) bool { return i.Name == node })
		tied := !slices.ContainsFunc(here, func(i Instance) bool { return !w.tied(component, i) })
		if slices.ContainsFunc(here, due) && tied {
			components = append(components, component)
		}
	}
	return components
}

// tied tells whether an instance talks to no other API server than the one beside it.
func (w *walk) tied(component Component, i Instance) bool {
	if component == APIServer {
		return true
	}
	servers := names(w.now.APIServers)
	return len(servers) == 1 || i.APIServer == i.Name && slices.Contains(servers, i.Name)
}

// proxiesMove: kubeadm brings kube-proxy along whenever it finishes a control plane.
func (w *walk) proxiesMove(due func(Instance) bool, unfinished bool, minor int) bool {
	if unfinished {
		return slices.ContainsFunc(w.now.KubeProxies, due)
	}
	return slices.ContainsFunc(filter(w.now.KubeProxies, due), func(i Instance) bool { return lags(i, minor+1) })
}

// tooOldNext tells whether a kubelet on the node would be too old for API servers
// one minor beyond the given one.
func (w *walk) tooOldNext(node string, minor int) bool {
	return slices.ContainsFunc(w.now.Kubelets, func(i Instance) bool { return i.Name == node && lags(i, minor+1) })
}

// lags tells whether a kubelet or a kube-proxy is too old for an API server.
func lags(i Instance, server int) bool {
	for _, l := range limits() {
		if l.rule == RuleKubelet { // kube-proxy's says the same
			return l.tooOld(i.minor(), server)
		}
	}
	return false
}

func (w *walk) controlPlane(node string) bool {
	return slices.ContainsFunc(w.now.APIServers, func(i Instance) bool { return i.Name == node })
}

func filter(instances []Instance, keep func(Instance) bool) []Instance {
	var kept []Instance
	for _, i := range instances {
		if keep(i) {
			kept = append(kept, i)
		}
	}
	return kept
}

// names lists the nodes of instances, sorted, each once.
func names(instances []Instance) []string {
	var list []string
	for _, i := range instances {
		list = append(list, i.Name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// Progress is what Next has to know of the run: where its nodes stand.
type Progress struct {
	// Nodes are the nodes of the Spec.
	Nodes map[string]*NodeStatus
	// Active are those at work in this process.
	Active map[string]bool
	// Now is the time of the decision.
	Now time.Time
	// Sought is how many pods of each Active node are evicted when its drain is done.
	Sought map[string]int
}

// NodeReason is a node and what there is to say about it.
type NodeReason struct {
	Node   string
	Reason string
}

// Decision says what to do next, and explains it. All lists are in order of name
// but Start, which is in the order in which to start, and Waits.
type Decision struct {
	// Start are the nodes whose maintenance may begin, or go on, now.
	Start []string
	// Slots is how many nodes may be out at once, Out those that are.
	Slots int
	Out   []NodeReason
	// Waits are nodes that could not be started, with what they wait for, in the order in which they are to start.
	Waits []NodeReason
	// Held are nodes of the run that may not be started, whatever slots there are.
	Held []NodeReason
	// Gone are nodes of the run that do not exist any more, or are other ones.
	Gone []NodeReason
	// Stop is why no further node is started; "" while that is not so.
	Stop string
}

// Next decides which nodes may be started now. It is called again whenever
// something changes, so that a free slot is refilled at once. It finds out which
// nodes may be touched at all; which of them go, and in which order, is package
// plan's to say.
//
// A percentage of --max-unavailable is one of all nodes in the cluster, because
// what it guards, capacity, is the cluster's, and because every node of the
// cluster that is out counts against it: one that is not Ready, one that
// somebody else cordoned, one that this run left cordoned after a failure. A
// node that is out already costs no slot when its turn comes, but there are
// never more nodes at work than slots.
//
// Nodes that an earlier process had begun come first: they are out as a rule, and
// every minute that they stay out is lost. One that is not out - its process was
// killed before the cordon, or somebody uncordoned it since - needs a slot like
// any other, unless only the wait for its workloads is left.
func Next(v View, spec *Spec, p Progress) Decision {
	d := Decision{Slots: spec.MaxUnavailable.Of(len(v.Nodes))}
	current := spec.current(p.Nodes)
	out := map[string]bool{}
	coming := p.coming()
	for _, n := range v.Nodes {
		if reason := whyOut(n, spec, p); reason != "" && !spec.staysCordoned(n, p) && !coming[n.Name] {
			d.Out = append(d.Out, NodeReason{n.Name, reason})
			out[n.Name] = true
		}
	}
	var candidates []*corev1.Node
	var unprovided, departed []string
	failures := 0
	for _, target := range spec.Nodes {
		status := p.Nodes[target.Name]
		if status.Standing == Failed {
			failures++
		}
		if p.Active[target.Name] || (status.Standing != Waiting && status.Standing != Begun) || !spec.turn(target.Name, status, current) {
			continue
		}
		node, reason := find(v.Nodes, target)
		if node == nil && status.Steps[StepDepart] != "" {
			departed = append(departed, target.Name) // its Node was to go; its machine may be left
			continue
		}
		if node == nil {
			d.Gone = append(d.Gone, NodeReason{target.Name, reason})
			continue
		}
		if reason := whyHeld(node, target, spec.Run); reason != "" && status.Standing == Waiting {
			d.Held = append(d.Held, NodeReason{target.Name, reason})
			continue
		}
		if i, known := v.World.Node(target.Name); known && status.Standing == Waiting && spec.whyLost(node, v.World.Holding(i)) != "" {
			d.Waits = append(d.Waits, NodeReason{target.Name, "its kubelet does not answer, so that its drain would not end"})
			continue
		}
		if spec.providing(target.Name, status) {
			unprovided = append(unprovided, target.Name)
			continue
		}
		candidates = append(candidates, node)
	}
	if failures > spec.MaxFailures {
		d.Stop = fmt.Sprintf("no new nodes are started, because --max-failures is %d", spec.MaxFailures)
		if spec.Upgrade != nil { // which has no such flag
			d.Stop = "no new nodes are started, because an upgrade stops at the first failure"
		}
		return d
	}
	d.Start = slices.Concat(departed, spec.provided(unprovided, p))
	switch {
	case len(candidates) == 0:
	case spec.atOnce(current):
		for _, n := range candidates {
			d.Start = append(d.Start, n.Name)
		}
	case len(p.Active) < d.Slots:
		d.choose(v, spec, p, candidates, out)
	}
	return d
}

// staysCordoned tells whether a node of an upgrade was cordoned by somebody else
// before it, and is not worked on. It has no part in what the run takes out, and will be
// cordoned in the end: with one slot no other node would ever have its turn.
func (s *Spec) staysCordoned(node *corev1.Node, p Progress) bool {
	target, status := s.target(node.Name), p.Nodes[node.Name]
	return s.Upgrade != nil && target != nil && target.Unschedulable && !p.Active[node.Name] && cluster.Ready(node) &&
		(status.Standing == Waiting || status.Standing == Maintained)
}

// choose asks the planner which of the candidates to start.
func (d *Decision) choose(v View, spec *Spec, p Progress, candidates []*corev1.Node, out map[string]bool) {
	w, in := v.World, spec.intent(d.Slots)
	state := &plan.State{Stage: make([]plan.Stage, len(v.Nodes)), Out: make([]bool, len(v.Nodes)), Owned: make([]bool, len(v.Nodes)), Total: spec.Pods * spec.hops(), Now: p.Now}
	for i, n := range v.Nodes {
		state.Out[i] = out[n.Name]
		if status := p.Nodes[n.Name]; status != nil {
			state.Stage[i] = stage(status, p.Active[n.Name] && !spec.providing(n.Name, status))
			if state.Stage[i] == plan.Uninvolved && status.Visits > 0 {
				state.Stage[i] = plan.Done // with this hop
			}
			// A pod is often seen to leave before the answer to its eviction is there.
			state.Evicted += max(status.Evicted, p.Sought[n.Name]-w.Staying(i))
		}
	}
	for name := range p.Active {
		if _, known := w.Node(name); !known {
			state.Lost++
		}
	}
	for _, n := range candidates {
		i, _ := w.Node(n.Name)
		status := p.Nodes[n.Name]
		state.Stage[i], state.Owned[i] = plan.Waiting, status.Standing == Begun
		if state.Owned[i] && spec.worked(status) {
			state.Out[i] = true // it does not go out again, and needs no other slot
		}
	}
	verdict := w.Decide(in, spec.order(w, p.Nodes), state)
	for _, i := range verdict.Start {
		d.Start = append(d.Start, w.Name(i))
	}
	for _, x := range verdict.Waits {
		if x.Why == plan.WaitsForSlot {
			continue // Out says more
		}
		d.Waits = append(d.Waits, NodeReason{w.Name(x.Node), w.Reason(in, x)})
	}
}

// stage is where a node stands for the planner, if it is not one that may be started.
func stage(n *NodeStatus, active bool) plan.Stage {
	switch {
	case active && (n.Steps[StepUncordon] == Done || n.Steps[StepDepart] == Done):
		return plan.Settling
	case active:
		return plan.Leaving
	case n.Standing == Maintained:
		return plan.Done
	}
	return plan.Uninvolved
}

// whyOut says why a node counts as unavailable, or "".
func whyOut(node *corev1.Node, spec *Spec, p Progress) string {
	if p.Active[node.Name] && !spec.providing(node.Name, p.Nodes[node.Name]) {
		return "being maintained"
	}
	if !cluster.Ready(node) {
		return "not Ready"
	}
	// The caches may not show its cordon yet.
	if n := p.Nodes[node.Name]; n != nil && n.Standing == Failed && n.Steps[StepUncordon] != Done {
		return "failed in this run"
	}
	if !node.Spec.Unschedulable {
		return ""
	}
	mark, marked := cluster.MarkOf(node)
	switch {
	case marked && mark.Run == spec.Run:
		return "cordoned by this run"
	case mark.Run != "":
		return "cordoned by " + mark.By()
	}
	return "cordoned"
}

// whyHeld says why a node that nothing was done to yet may not be touched, or "".
func whyHeld(node *corev1.Node, target Target, run string) string {
	mark, marked := cluster.MarkOf(node)
	switch {
	case !node.Spec.Unschedulable || target.Unschedulable || marked && mark.Run == run:
		return ""
	case mark.Run != "":
		return mark.By() + " has cordoned it since this run was begun"
	}
	return "somebody has cordoned it since this run was begun"
}

// find returns the target's node, or why there is none.
func find(nodes []*corev1.Node, target Target) (*corev1.Node, string) {
	i, found := slices.BinarySearchFunc(nodes, target.Name, func(n *corev1.Node, name string) int { return cmp.Compare(n.Name, name) })
	switch {
	case !found:
		return nil, reasonDeleted
	case nodes[i].UID != target.UID:
		return nil, reasonReplaced
	}
	return nodes[i], ""
}

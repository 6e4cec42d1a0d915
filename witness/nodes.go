// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// NodeHistory is what happened to one node.
type NodeHistory struct {
	Name string `json:"name"`
	// Cordons and Uncordons count how often it was made unschedulable and
	// schedulable, Reboots how often its boot ID changed.
	Cordons   int `json:"cordons"`
	Uncordons int `json:"uncordons"`
	Reboots   int `json:"reboots"`
	// Cordoned and Ready are its state at the end; Deleted if it is not there any more.
	Cordoned bool `json:"cordoned"`
	Ready    bool `json:"ready"`
	Deleted  bool `json:"deleted,omitempty"`
	// CaughtPods were on the cordoned node, although they should have left, when
	// its machine went down.
	CaughtPods []string `json:"caughtPods,omitempty"`
	// Steps are its changes, in order.
	Steps []NodeStep `json:"steps,omitempty"`
}

// NodeStep is one change of a node: cordoned, uncordoned, not-ready, ready, rebooted, deleted.
type NodeStep struct {
	Time time.Time `json:"time"`
	What string    `json:"what"`
}

// Busiest is the moment at which most nodes were out: cordoned, not Ready or both.
type Busiest struct {
	Time  time.Time `json:"time"`
	Out   int       `json:"out"`
	Nodes []string  `json:"nodes,omitempty"`
}

// BusiestZone is the moment at which most nodes of one zone were out.
type BusiestZone struct {
	// Zone is the label topology.kubernetes.io/zone; "" stands for the nodes without it.
	Zone string `json:"zone"`
	Busiest
}

// Maintained tells whether the node was cordoned, rebooted once, and given back.
func (h *NodeHistory) Maintained() bool {
	return h.Cordons > 0 && h.Reboots == 1 && h.Ready && !h.Cordoned && !h.Deleted
}

func newNodeHistory(node *corev1.Node) *NodeHistory {
	return &NodeHistory{Name: node.Name, Cordoned: node.Spec.Unschedulable, Ready: ready(node)}
}

func (r *replay) nodeChanged(at time.Time, old, node *corev1.Node, gone bool) {
	h := r.nodes[node.Name]
	if h == nil || old == nil {
		if h == nil { // it came in the middle
			r.nodes[node.Name] = newNodeHistory(node)
		} else { // another one of the same name
			h.Deleted, h.Cordoned, h.Ready = false, node.Spec.Unschedulable, ready(node)
		}
		r.countOut(at)
		return
	}
	step := func(what string) { h.Steps = append(h.Steps, NodeStep{at, what}) }
	if gone {
		h.Deleted = true
		step("deleted")
		r.countOut(at)
		return
	}
	down := ready(old) && !ready(node)
	rebooted := old.Status.NodeInfo.BootID != node.Status.NodeInfo.BootID
	if node.Spec.Unschedulable != old.Spec.Unschedulable {
		if h.Cordoned = node.Spec.Unschedulable; h.Cordoned {
			h.Cordons++
			step("cordoned")
		} else {
			h.Uncordons++
			step("uncordoned")
		}
	}
	if down {
		step("not-ready")
	}
	if rebooted {
		h.Reboots++
		step("rebooted")
	}
	if ready(node) && !ready(old) {
		step("ready")
	}
	h.Ready = ready(node)
	if h.Cordoned && (down || (rebooted && ready(old))) {
		h.CaughtPods = append(h.CaughtPods, r.podsOn(node.Name)...)
	}
	r.countOut(at)
}

// podsOn names the pods on a node that maintenance has to move, sorted.
func (r *replay) podsOn(node string) []string {
	var out []string
	for _, pod := range r.world.pods {
		if pod.Spec.NodeName == node && movable(pod) {
			out = append(out, name(pod))
		}
	}
	slices.Sort(out)
	return out
}

func (r *replay) countOut(at time.Time) {
	var out []string
	zones := map[string][]string{}
	for _, node := range r.world.nodes {
		zone := node.Labels[corev1.LabelTopologyZone]
		if zones[zone] == nil {
			zones[zone] = []string{}
		}
		if node.Spec.Unschedulable || !ready(node) {
			out = append(out, node.Name)
			zones[zone] = append(zones[zone], node.Name)
		}
	}
	r.busiest.heed(at, out)
	for zone, out := range zones {
		b := r.zones[zone]
		b.heed(at, out)
		r.zones[zone] = b
	}
}

// heed takes a moment at which those nodes are out for the busiest if it is.
func (b *Busiest) heed(at time.Time, out []string) {
	if len(out) > b.Out || b.Time.IsZero() {
		slices.Sort(out)
		*b = Busiest{at, len(out), out}
	}
}

func (r *replay) busiestZones() []BusiestZone {
	list := make([]BusiestZone, 0, len(r.zones))
	for _, zone := range slices.Sorted(maps.Keys(r.zones)) {
		list = append(list, BusiestZone{zone, r.zones[zone]})
	}
	return list
}

func ready(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Board is a cluster as the scheduler's filters see it, on which pods are taken
// away and put elsewhere. It answers whether a pod fits a node, by the same rules
// as a Room but without words, and fast enough to try out the maintenance of
// thousands of nodes.
//
// Nodes go by their number in Snapshot.Nodes, pods by their Class. A Board and its
// clones may be used by several goroutines at a time, each by one, as long as
// none of them calls Class, Renew or Forget, which change what they share.
type Board struct {
	shared *tables
	nodes  []place
	extra  []int64 // what is free of each of Extra on the first node, on the second...
	extras int     // how many are known here

	counters []int32   // of tallies whose topology is not sparse, domain by domain
	lists    [][]count // of the others, by domain
	totals   []int32   // by tally, over all domains
	levels   []level
	reached  []reached
}

// place is a node with what is on it.
type place struct {
	free    Resources // without Extra
	load    weight
	pods    []count // by Class
	passing int32   // the number of its list of taints that come and go
}

// count is how many there are of a Class on a node, or of a tally in a domain.
type count struct{ of, n int32 }

// Domains up to this number have a counter for each tally of their topology. With
// more, as for host names, most counters would be 0: those that are not are listed.
const denseDomains = 256

// NewBoard makes the board of a snapshot, with those pods on it that are bound and
// not finished.
func NewBoard(s *cluster.Snapshot) *Board { return newBoard(s, denseDomains) }

func newBoard(s *cluster.Snapshot, dense int) *Board {
	t := newTables(s, dense)
	b := &Board{shared: t, nodes: make([]place, len(s.Nodes))}
	pods := make([]Class, len(s.Pods))
	for i, p := range s.Pods {
		pods[i] = t.class(p)
	}
	t.pods = make(map[*cluster.Pod]Class, len(pods))
	for i, p := range s.Pods {
		t.pods[p] = pods[i]
	}
	t.link()
	for i := range b.nodes {
		b.nodes[i] = place{free: t.allocatable[i], passing: t.passingOf[i], pods: make([]count, 0, len(s.Nodes[i].Pods))}
	}
	b.catchUp()
	for i, p := range s.Pods {
		if p.Host == nil || budget.Finished(p.Pod) {
			continue
		}
		c := pods[i]
		if p.DeletionTimestamp != nil {
			c = c.Leaving()
		}
		b.Put(c, int(t.byName[p.Host.Name]))
	}
	return b
}

// Clone returns a copy that goes its own way. It shares what does not change.
func (b *Board) Clone() *Board {
	c := *b
	c.nodes = slices.Clone(b.nodes)
	c.extra = slices.Clone(b.extra)
	c.counters = slices.Clone(b.counters)
	c.totals = slices.Clone(b.totals)
	c.levels = slices.Clone(b.levels)
	c.reached = slices.Clone(b.reached)
	c.lists = slices.Clone(b.lists)
	// One piece of memory for all the lists; what grows moves out of it.
	entries, heights := 0, 0
	for i := range b.nodes {
		entries += len(b.nodes[i].pods)
	}
	for i := range b.lists {
		entries += len(b.lists[i])
	}
	for i := range b.levels {
		heights += len(b.levels[i].heights)
	}
	counts, levels := make([]count, 0, entries), make([]int32, 0, heights)
	for i := range c.nodes {
		counts, c.nodes[i].pods = moved(counts, c.nodes[i].pods)
	}
	for i := range c.lists {
		counts, c.lists[i] = moved(counts, c.lists[i])
	}
	for i := range c.levels {
		levels, c.levels[i].heights = moved(levels, c.levels[i].heights)
	}
	for i := range c.reached {
		if c.shared.reaches[i].honours != nil {
			c.reached[i].nodes = slices.Clone(c.reached[i].nodes)
		}
	}
	return &c
}

// moved appends part to all and returns both: the part as it now is within all.
func moved[T any](all, part []T) (whole, copied []T) {
	from := len(all)
	all = append(all, part...)
	return all, all[from:len(all):len(all)]
}

// Nodes is the number of nodes.
func (b *Board) Nodes() int { return len(b.nodes) }

// Class returns the class of the replacement of pod: a pod with the same spec and
// labels that is not bound yet, but tied to the pod's volumes. It is also that of
// the pod itself, unless it is being deleted: then that is Class(pod).Leaving().
// The pod need not be one of the snapshot.
func (b *Board) Class(pod *cluster.Pod) Class {
	t := b.shared
	if c, known := t.pods[pod]; known {
		return c
	}
	before := len(t.classes)
	c := t.class(pod)
	if len(t.classes) > before {
		t.coarse = t.looksFurther(&pod.Spec) || t.coarse
		t.link()
	}
	return c
}

// Coarse tells whether a pod was asked about whose selectors look at labels that
// none of the snapshot's selectors looked at. Pods that these labels tell apart
// are still one Class: answers about that pod may be wrong, and a new board is in
// place.
func (b *Board) Coarse() bool { return b.shared.coarse }

// Put tells that a pod of the class runs on the node now.
func (b *Board) Put(c Class, node int) { b.add(c, node, 1) }

// Take tells that a pod of the class is gone from the node. If there is none,
// nothing changes and it returns false.
func (b *Board) Take(c Class, node int) bool {
	if !slices.ContainsFunc(b.nodes[node].pods, func(x count) bool { return x.of == int32(c) }) {
		return false
	}
	b.add(c, node, -1)
	return true
}

func (b *Board) add(c Class, node int, by int32) {
	b.catchUp()
	x, n := b.shared.classes[c>>1], &b.nodes[node]
	n.pods, _ = change(n.pods, int32(c), by)
	n.free.MilliCPU -= x.requests.MilliCPU * int64(by)
	n.free.Memory -= x.requests.Memory * int64(by)
	n.free.Ephemeral -= x.requests.Ephemeral * int64(by)
	n.free.Pods -= int64(by)
	for i, amount := range x.requests.Extra {
		b.extra[node*b.extras+i] -= amount * int64(by)
	}
	n.load.milliCPU += x.weight.milliCPU * int64(by)
	n.load.memory += x.weight.memory * int64(by)
	for _, i := range x.counts {
		b.count(i, node, by)
	}
	if c == c.Staying() {
		for _, i := range x.countsStaying {
			b.count(i, node, by)
		}
	}
}

// Fits tells whether the scheduler's filters would let a pod of the class onto the
// node now. A pod that asks about the node it runs on is taken away first.
func (b *Board) Fits(c Class, node int) bool {
	b.catchUp()
	x, n := b.shared.classes[c>>1], &b.nodes[node]
	return x.where.has(node) && x.tolerance.passing[n.passing] &&
		b.hasRoom(x, node) && b.hasPorts(x, n) && b.isApart(x, node) && b.isTogether(x, node) && b.isSpread(x, node)
}

// Static is the part of Fits that never changes: node selection, the nodes of
// volumes, and taints other than those that SetOut speaks of.
func (b *Board) Static(c Class, node int) bool { return b.shared.classes[c>>1].where.has(node) }

func (b *Board) hasRoom(x *class, node int) bool {
	free, want := &b.nodes[node].free, &x.requests
	if free.Pods < 1 || lacks(free.MilliCPU, want.MilliCPU) || lacks(free.Memory, want.Memory) || lacks(free.Ephemeral, want.Ephemeral) {
		return false
	}
	for i, amount := range want.Extra {
		if lacks(b.extra[node*b.extras+i], amount) {
			return false
		}
	}
	return true
}

// lacks: who wants nothing lacks nothing, even where too much is taken already.
func lacks(free, want int64) bool { return want > 0 && want > free }

func (b *Board) hasPorts(x *class, n *place) bool {
	for _, want := range x.ports {
		for i := range n.pods {
			if slices.ContainsFunc(b.shared.classes[n.pods[i].of>>1].ports, want.clashes) {
				return false
			}
		}
	}
	return true
}

func (b *Board) isApart(x *class, node int) bool {
	for _, i := range x.forbid {
		if b.totals[i] > 0 && b.counted(i, node) > 0 {
			return false
		}
	}
	return true
}

// isTogether is as together in a Room: if nobody anywhere is one that the pod
// needs, and it is one itself, it is the first and may go wherever there are the labels.
func (b *Board) isTogether(x *class, node int) bool {
	first := x.needsSelf
	for _, i := range x.need {
		first = first && b.totals[i] == 0
	}
	for _, i := range x.need {
		if b.domain(i, node) < 0 || !first && b.counted(i, node) == 0 {
			return false
		}
	}
	return true
}

// Free is what is left on the node; where it does not tell what it has, more
// than anybody wants.
func (b *Board) Free(node int) Resources {
	b.catchUp()
	r := b.nodes[node].free
	if b.extras > 0 {
		r.Extra = slices.Clone(b.extra[node*b.extras : (node+1)*b.extras])
	}
	return r
}

// Requests is what a pod of the class takes: of Pods, one.
func (b *Board) Requests(c Class) Resources { return b.shared.classes[c>>1].requests }

// Extra are the names of the resources in Resources.Extra.
func (b *Board) Extra() []corev1.ResourceName { return slices.Clone(b.shared.extra) }

// Load is how full the node is, from 0 to 1: the mean of requested by allocatable
// for CPU and memory. The scheduler prefers the node with the least, counting
// 100m and 200Mi for a container that requests nothing (NodeResourcesFit with its
// strategy LeastAllocated, the default). It is 0 if the node does not tell what it has.
func (b *Board) Load(node int) float64 {
	of, n := &b.shared.allocatable[node], &b.nodes[node]
	if of.MilliCPU == unlimited {
		return 0
	}
	sum, parts := 0.0, 0.0
	if of.MilliCPU > 0 {
		sum += min(1, float64(n.load.milliCPU)/float64(of.MilliCPU))
		parts++
	}
	if of.Memory > 0 {
		sum += min(1, float64(n.load.memory)/float64(of.Memory))
		parts++
	}
	return sum / max(1, parts)
}

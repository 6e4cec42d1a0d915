// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// World is a cluster as the planner sees it: numbers instead of objects, so that
// a forecast can change it quickly. Nodes are numbered as in the Snapshot.
type World struct {
	snapshot *cluster.Snapshot
	board    *placement.Board
	byName   map[string]int
	nodes    []node
	zones    int
	pods     []pod
	budgets  []budgetRoom
	sets     []quorumSet
	// workloads are those that the pods belong to, with what is expected of them.
	workloads []workload
	// crews are the controllers that keep a number of pods running.
	crews []crew
}

// node is a node with its pods, by number.
type node struct {
	name         string
	zone         int // by number; nodes without a zone share one
	controlPlane bool
	// schedulable: new pods may land here, as far as the node is concerned.
	schedulable bool
	// heldBack: it is schedulable, but pods come only when a taint is gone, in a moment.
	heldBack bool
	pods     []int // those that have to leave when the node is drained
}

// pod is one that has to leave its node when that is drained.
type pod struct {
	source   *cluster.Pod
	class    placement.Class
	node     int
	budget   int // -1: none
	set      int // -1: none
	workload int
	healthy  bool
	// leaving: it is being deleted already.
	leaving bool
	// gated: the Eviction API asks the budget for it.
	gated bool
	// stuck: it can never be evicted; a reason is in the Plan's blockers.
	stuck bool
	// replaced: a controller makes a new one.
	replaced bool
	// place is the node that its replacement is expected on, if a node at work has
	// claimed one: nowhere, if there is none.
	place int
	// afterwards: its replacement is made only when it is gone (StatefulSets).
	afterwards bool
}

// quorumSet is a StatefulSet of which never two members may be away together.
type quorumSet struct {
	source *cluster.Workload
	// missing is how many members are not there, or not healthy; missingOn counts
	// those of them that are bound to a node.
	missing   int
	missingOn map[int]int
}

// crew are the pods of a controller that replaces those that go. As long as there
// are fewer than it wants, others are on their way: they have been evicted, and
// the replacement is not made or not bound yet.
type crew struct {
	class   placement.Class
	desired int // unknown: below zero
	bound   int // to nodes, and not being deleted
}

// workload is what is expected of the pods of one controller.
type workload struct {
	startup     time.Duration // from bound to Ready, as a rule
	quickest    time.Duration // the same, at the least
	termination time.Duration // from evicted to gone
}

const zoneLabel = corev1.LabelTopologyZone

// Drain says what a drain does with pods.
type Drain struct {
	// Leaves tells which pods it evicts.
	Leaves func(*cluster.Pod) bool
	// Surges tells for which ones a replacement is started first if no budget would
	// ever let them go; nil: for none.
	Surges func(*cluster.Pod) bool
	// Timed says that what Leaves says of pods that are being deleted depends on the time.
	Timed bool
	// Ungated says that pods are deleted instead, whatever their budgets say.
	Ungated bool
}

// NewWorld makes a World from a Snapshot.
func NewWorld(s *cluster.Snapshot, drain Drain) *World {
	w := emptyWorld(s)
	b := builder{World: w, drain: drain, budgets: map[*cluster.Budget]int{}, atBest: map[*cluster.Budget]int{}, sets: map[types.UID]int{}, crews: map[types.UID]int{}, workloads: map[*cluster.Workload]int{}}
	for i, n := range s.Nodes {
		for _, p := range n.Pods {
			b.add(i, p)
		}
	}
	return w
}

// emptyWorld has the nodes of a Snapshot, and on its board their pods.
func emptyWorld(s *cluster.Snapshot) *World {
	w := &World{snapshot: s, board: placement.NewBoard(s), byName: make(map[string]int, len(s.Nodes)), nodes: make([]node, len(s.Nodes))}
	zones := map[string]int{}
	for i, n := range s.Nodes {
		zone, known := zones[n.Labels[zoneLabel]]
		if !known {
			zone = len(zones)
			zones[n.Labels[zoneLabel]] = zone
		}
		w.byName[n.Name] = i
		w.nodes[i] = node{name: n.Name, zone: zone, controlPlane: cluster.ControlPlane(n.Node)}
		w.serve(i, n.Node)
	}
	w.zones = len(zones)
	return w
}

// serve takes over from a node whether new pods may land there.
func (w *World) serve(i int, n *corev1.Node) {
	w.nodes[i].schedulable = !n.Spec.Unschedulable && cluster.Ready(n)
	w.nodes[i].heldBack = w.nodes[i].schedulable && cluster.HeldBack(n)
	w.board.SetOut(i, !w.nodes[i].schedulable || w.nodes[i].heldBack)
}

// builder numbers what it meets.
type builder struct {
	*World
	drain     Drain
	budgets   map[*cluster.Budget]int
	atBest    map[*cluster.Budget]int
	sets      map[types.UID]int
	crews     map[types.UID]int
	workloads map[*cluster.Workload]int
}

func (b *builder) add(on int, p *cluster.Pod) {
	if budget.Finished(p.Pod) || !b.drain.Leaves(p) {
		return
	}
	x := pod{source: p, class: b.board.Class(p), node: on, set: -1, workload: b.workload(p)}
	var controller *cluster.Workload
	if len(p.Controllers) > 0 {
		controller = p.Controllers[0]
		x.set = b.set(controller)
		b.crew(controller, x.class, p.DeletionTimestamp != nil)
	}
	x.follow(p.Pod, controller)
	var only *policyv1.PodDisruptionBudget
	best := 0
	if len(p.Budgets) > 0 {
		only, best = p.Budgets[0].PodDisruptionBudget, b.best(p.Budgets[0])
	}
	surges := b.drain.Surges != nil && b.drain.Surges(p)
	if x.gate(p.Pod, b.drain.Ungated, surges, len(p.Budgets), only, best) {
		x.budget = b.budget(p.Budgets[0])
	}
	b.nodes[on].pods = append(b.nodes[on].pods, len(b.pods))
	b.pods = append(b.pods, x)
}

// follow takes over what a pod and its nearest controller (nil: none) say.
func (x *pod) follow(p *corev1.Pod, controller *cluster.Workload) {
	x.healthy, x.leaving, x.place = budget.Healthy(p), p.DeletionTimestamp != nil, unclaimed
	x.replaced = controller != nil && !x.leaving // else it has been
	x.afterwards = controller != nil && controller.Group == appsv1.GroupName && controller.Kind == "StatefulSet"
}

// gate says how the Eviction API deals with a pod that so many budgets select: of a
// single one it is told what it lets go at best. surges is what Drain.Surges
// says. It returns whether the pod counts for the single budget.
func (x *pod) gate(p *corev1.Pod, ungated, surges bool, budgets int, only *policyv1.PodDisruptionBudget, atBest int) (counts bool) {
	x.budget, x.gated, x.stuck = -1, false, false
	if ungated || budgets == 0 || surges && budget.NeverGoes(p, budgets, only, atBest) {
		return false
	}
	asked := !budget.Ignored(p)
	if budgets > 1 {
		x.stuck = asked // the Eviction API refuses such a pod for ever
		return false
	}
	x.gated = asked && !budget.PassesBy(p, only)
	x.stuck = x.gated && atBest == 0
	return true
}

func (b *builder) best(source *cluster.Budget) int {
	n, known := b.atBest[source]
	if !known {
		n = atBest(source)
		b.atBest[source] = n
	}
	return n
}

func (b *builder) budget(source *cluster.Budget) int {
	if i, known := b.budgets[source]; known {
		return i
	}
	r := budgetRoom{source: source, atBest: b.best(source), eatenOn: map[int]bool{}}
	r.serve(source.PodDisruptionBudget)
	for _, p := range source.Pods {
		if p.Host != nil && !budget.Finished(p.Pod) && !budget.Healthy(p.Pod) {
			r.eatenOn[b.byName[p.Host.Name]] = true
		}
	}
	b.World.budgets = append(b.World.budgets, r)
	b.budgets[source] = len(b.World.budgets) - 1
	return b.budgets[source]
}

func (b *builder) set(c *cluster.Workload) int {
	if !budget.Quorum(c.Group, c.Kind, c.Desired) {
		return -1
	}
	if i, known := b.sets[c.UID]; known {
		return i
	}
	q := quorumSet{source: c, missing: int(c.Desired), missingOn: map[int]int{}}
	for _, p := range c.Pods {
		switch {
		case budget.Healthy(p.Pod):
			q.missing--
		case p.Host != nil:
			q.missingOn[b.byName[p.Host.Name]]++
		}
	}
	q.missing = max(0, q.missing)
	b.World.sets = append(b.World.sets, q)
	b.sets[c.UID] = len(b.World.sets) - 1
	return b.sets[c.UID]
}

// crewed: a Job needs fewer pods as they succeed, and those of a DaemonSet have
// only one place to go.
func crewed(c *cluster.Workload) bool { return c.Kind != "Job" && c.Kind != "DaemonSet" }

// crew counts a pod for its controller.
func (b *builder) crew(c *cluster.Workload, class placement.Class, leaving bool) {
	if !crewed(c) {
		return
	}
	i, known := b.crews[c.UID]
	if !known {
		i = len(b.World.crews)
		b.World.crews = append(b.World.crews, crew{class: class, desired: int(c.Desired)})
		b.crews[c.UID] = i
	}
	if !leaving {
		b.World.crews[i].bound++
	}
}

func (b *builder) workload(p *cluster.Pod) int {
	var owner *cluster.Workload
	if n := len(p.Controllers); n > 0 {
		owner = p.Controllers[n-1]
	}
	i, known := b.workloads[owner]
	if known && (owner != nil || b.World.workloads[i] == estimate(nil, p)) { // pods without one have nothing in common
		return i
	}
	b.World.workloads = append(b.World.workloads, estimate(owner, p))
	b.workloads[owner] = len(b.World.workloads) - 1
	return b.workloads[owner]
}

// Nodes returns how many nodes there are.
func (w *World) Nodes() int { return len(w.nodes) }

// Node returns the number of a node.
func (w *World) Node(name string) (int, bool) {
	i, known := w.byName[name]
	return i, known
}

// Name returns the name of a node.
func (w *World) Name(node int) string { return w.nodes[node].name }

// Staying returns how many pods have to leave a node and are not leaving already.
func (w *World) Staying(node int) int {
	n := 0
	for _, i := range w.nodes[node].pods {
		if !w.pods[i].leaving {
			n++
		}
	}
	return n
}

// Holding returns how many pods have to leave a node, with those that are leaving already.
func (w *World) Holding(node int) int { return len(w.nodes[node].pods) }

// clone returns a World that may be changed: nothing of this one is.
func (w *World) clone() *World {
	c := *w
	c.board = w.board.Clone()
	c.nodes, c.pods, c.budgets, c.sets = slices.Clone(w.nodes), slices.Clone(w.pods), slices.Clone(w.budgets), slices.Clone(w.sets)
	for i := range c.nodes {
		c.nodes[i].pods = slices.Clip(c.nodes[i].pods)
	}
	return &c
}

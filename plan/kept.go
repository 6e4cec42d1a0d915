// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// member is a pod that a Keeper knows, whatever state it is in.
type member struct {
	pod     *corev1.Pod
	node    int             // -1: not bound to one of the World
	class   placement.Class // as it is on the board, if it is
	onBoard bool
	slot    int  // its number among the pods of the World; -1: it does not have to leave
	surges  bool // what Drain.Surges says of it
	// owners are its controllers, nearest first; scales is the one whose replicas
	// count for budgets; nil: none.
	owners  []*owner
	scales  *owner
	budgets []*allowance
	volumes []string
}

func (m *member) key() types.NamespacedName {
	return types.NamespacedName{Namespace: m.pod.Namespace, Name: m.pod.Name}
}

// eats tells whether the pod uses up the budgets that select it.
func (m *member) eats() bool {
	return m.node >= 0 && !budget.Finished(m.pod) && !budget.Healthy(m.pod)
}

// controller is the nearest one; nil for none.
func (m *member) controller() *cluster.Workload {
	if len(m.owners) == 0 {
		return nil
	}
	return &m.owners[0].facts
}

// owner is a workload that controls pods.
type owner struct {
	// facts are what a World may depend on; they have no Pods, and of PodSpec and
	// Controller no more than matters.
	facts   cluster.Workload
	pinned  string // the node that its template names
	above   types.UID
	rolls   bool // it has a Rollout
	members crowd
	set     int // -1: it is no quorum
}

// factsOf leaves away what does not matter, so that owners can be compared.
func factsOf(w *cluster.Workload) owner {
	o := owner{facts: cluster.Workload{
		Group: w.Group, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, UID: w.UID, Found: w.Found, Desired: w.Desired,
	}, rolls: w.Rollout != nil}
	if w.PodSpec != nil {
		o.pinned = w.PodSpec.NodeName
	}
	if w.Controller != nil {
		o.above = w.Controller.UID
	}
	return o
}

func (o *owner) same(other *owner) bool {
	a, b := &o.facts, &other.facts
	return a.Group == b.Group && a.Kind == b.Kind && a.Found == b.Found && a.Desired == b.Desired &&
		o.pinned == other.pinned && o.above == other.above && o.rolls == other.rolls
}

// owner returns the one that a workload is. What is known of it is not renewed
// here, so that the Change that is still to come finds something to do for its other pods.
func (k *Keeper) owner(w *cluster.Workload) *owner {
	o := k.owners[w.UID]
	if o == nil {
		made := factsOf(w)
		o = &made
		o.members, o.set = crowd{}, -1
		k.owners[w.UID] = o
	}
	return o
}

// renewOwner looks at a workload again and returns its pods, if they have to be as well.
func (k *Keeper) renewOwner(uid types.UID) crowd {
	o := k.owners[uid]
	if o == nil {
		return nil // without pods it does not matter
	}
	unread := o.facts
	unread.Found, unread.Desired = false, -1
	now := &unread
	if found := k.source.Controller(uid); found != nil {
		now = found
	}
	renewed := factsOf(now)
	if o.same(&renewed) {
		return nil
	}
	o.facts, o.pinned, o.above, o.rolls = renewed.facts, renewed.pinned, renewed.above, renewed.rolls
	k.staleOwners[o] = true
	return o.members
}

func (k *Keeper) renewNode(name string) {
	now := k.source.Node(name)
	i, known := k.world.byName[name]
	switch {
	case now == nil && known:
		k.outdate("node %s is gone", name)
	case now == nil:
	case !known:
		k.outdate("node %s is new", name)
	case now.UID != k.nodes[i].UID:
		k.nodes[i] = now
		k.outdate("node %s was replaced", name)
	default:
		k.nodes[i] = now
		if !k.world.board.Renew(i, now) {
			k.outdate("node %s has other labels, taints or resources", name)
		}
		k.world.serve(i, now)
	}
}

// renewPod looks at a pod again.
func (k *Keeper) renewPod(key types.NamespacedName) {
	if m := k.members[key]; m != nil {
		k.drop(m)
	}
	if p := k.source.Tied(key.Namespace, key.Name); p != nil {
		k.add(p, false)
	}
}

// add takes in a pod that is not known. counted: the board has it already.
func (k *Keeper) add(p *cluster.Pod, counted bool) {
	m := &member{pod: p.Pod, node: -1, slot: -1}
	k.members[m.key()] = m
	if p.Host != nil {
		if i, known := k.world.byName[p.Host.Name]; known {
			m.node = i
		}
	}
	for _, w := range p.Controllers {
		o := k.owner(w)
		o.members[m] = struct{}{}
		m.owners = append(m.owners, o)
		k.staleOwners[o] = true
	}
	if w := budget.Scales(p); w != nil {
		m.scales = k.owner(w)
	}
	for _, claim := range cluster.ClaimNames(p.Pod) {
		join(k.byClaim, types.NamespacedName{Namespace: p.Namespace, Name: claim}, m)
	}
	for _, v := range p.Volumes {
		join(k.byVolume, v.Name, m)
		m.volumes = append(m.volumes, v.Name)
	}
	for _, a := range k.selecting(p.Pod) {
		k.connect(a, m)
	}
	if m.node < 0 || budget.Finished(p.Pod) {
		return
	}
	m.class, m.onBoard = k.world.board.Class(p), true
	if p.DeletionTimestamp != nil {
		m.class = m.class.Leaving()
		k.departing[m] = struct{}{}
	}
	if !counted {
		k.world.board.Put(m.class, m.node)
	}
	if k.drain.Leaves(p) {
		m.surges = k.drain.Surges != nil && k.drain.Surges(p)
		k.stand(m)
	}
}

// drop forgets a pod.
func (k *Keeper) drop(m *member) {
	delete(k.members, m.key())
	if m.slot >= 0 {
		n := &k.world.nodes[m.node]
		at := slices.Index(n.pods, m.slot)
		n.pods = slices.Delete(n.pods, at, at+1)
		k.slots[m.slot], k.freeSlots = nil, append(k.freeSlots, m.slot)
		m.slot = -1
		delete(k.unjudged, m)
	}
	if m.onBoard {
		k.world.board.Take(m.class, m.node)
	}
	delete(k.departing, m)
	for len(m.budgets) > 0 {
		k.disconnect(m.budgets[0], m)
	}
	for _, claim := range cluster.ClaimNames(m.pod) {
		leave(k.byClaim, types.NamespacedName{Namespace: m.pod.Namespace, Name: claim}, m)
	}
	for _, name := range m.volumes {
		leave(k.byVolume, name, m)
	}
	for _, o := range m.owners {
		delete(o.members, m)
		k.staleOwners[o] = true
	}
}

// stand gives a pod that has to leave its node a place among the others there,
// which are in order of namespace and name, as in a Snapshot.
func (k *Keeper) stand(m *member) {
	if last := len(k.freeSlots) - 1; last >= 0 {
		m.slot, k.freeSlots = k.freeSlots[last], k.freeSlots[:last]
	} else {
		m.slot = len(k.slots)
		k.slots, k.world.pods = append(k.slots, nil), append(k.world.pods, pod{})
	}
	k.slots[m.slot] = m
	n := &k.world.nodes[m.node]
	at, _ := slices.BinarySearchFunc(n.pods, m, func(slot int, m *member) int {
		p := k.slots[slot].pod
		return cmp.Or(cmp.Compare(p.Namespace, m.pod.Namespace), cmp.Compare(p.Name, m.pod.Name))
	})
	n.pods = slices.Insert(n.pods, at, m.slot)
	k.unjudged[m] = struct{}{}
}

// judge says of a pod that has to leave what its controllers and budgets make of it.
func (k *Keeper) judge(m *member) {
	x := pod{class: m.class.Staying(), node: m.node, set: -1}
	x.follow(m.pod, m.controller())
	if len(m.owners) > 0 {
		x.set = m.owners[0].set
	}
	var only *policyv1.PodDisruptionBudget
	room, atBest := -1, 0
	if len(m.budgets) > 0 {
		only, room = m.budgets[0].pdb, m.budgets[0].room
		atBest = k.world.budgets[room].atBest
	}
	if x.gate(m.pod, k.drain.Ungated, m.surges, len(m.budgets), only, atBest) {
		x.budget = room
	}
	k.world.pods[m.slot] = x
}

func join[K comparable](of map[K]crowd, key K, m *member) {
	if of[key] == nil {
		of[key] = crowd{}
	}
	of[key][m] = struct{}{}
}

func leave[K comparable](of map[K]crowd, key K, m *member) {
	if delete(of[key], m); len(of[key]) == 0 {
		delete(of, key)
	}
}

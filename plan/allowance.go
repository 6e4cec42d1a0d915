// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// allowance is a budget that a Keeper knows.
type allowance struct {
	pdb      *policyv1.PodDisruptionBudget
	selector labels.Selector
	hook     label // one that it demands of pods; none: it may select any
	room     int   // its number among the budgets of the World
	members  crowd
	// What budget.Steady counts: pods without a controller, and of each controller
	// the pods that have not finished.
	bare  int
	scale map[*owner]int
	eaten map[int]int // by node: how many pods there use it up
	// As the pods were last judged by it: whether it never lets any go, and whether
	// it lets those pass that are not healthy.
	closed, passes bool
}

type label struct{ key, value string }

// finder finds the budgets of one namespace by the labels of a pod.
type finder struct {
	byLabel map[label][]*allowance
	others  []*allowance
}

// selecting returns the budgets that select a pod.
func (k *Keeper) selecting(p *corev1.Pod) []*allowance {
	in := k.spaces[p.Namespace]
	if in == nil {
		return nil
	}
	var found []*allowance
	try := func(some []*allowance) {
		for _, a := range some {
			if a.selector.Matches(labels.Set(p.Labels)) {
				found = append(found, a)
			}
		}
	}
	try(in.others)
	for key, value := range p.Labels {
		try(in.byLabel[label{key, value}])
	}
	return found
}

// renewBudget looks at a budget again.
func (k *Keeper) renewBudget(key types.NamespacedName) {
	old, now := k.budgets[key], k.source.Budget(key.Namespace, key.Name)
	if old != nil && now != nil && apiequality.Semantic.DeepEqual(old.pdb.Spec.Selector, now.Spec.Selector) {
		old.pdb = now
		k.staleBudgets[old] = true
		return
	}
	if old != nil {
		k.dropBudget(old)
	}
	if now == nil {
		return
	}
	a := k.addBudget(now)
	for _, m := range k.members {
		if m.pod.Namespace == key.Namespace && a.selector.Matches(labels.Set(m.pod.Labels)) {
			k.connect(a, m)
		}
	}
}

func (k *Keeper) addBudget(pdb *policyv1.PodDisruptionBudget) *allowance {
	a := &allowance{pdb: pdb, selector: cluster.BudgetSelector(pdb), members: crowd{}, scale: map[*owner]int{}, eaten: map[int]int{}}
	a.hook.key, a.hook.value, _ = cluster.DemandedLabel(a.selector)
	if last := len(k.freeRooms) - 1; last >= 0 {
		a.room, k.freeRooms = k.freeRooms[last], k.freeRooms[:last]
	} else {
		a.room = len(k.world.budgets)
		k.world.budgets = append(k.world.budgets, budgetRoom{})
	}
	k.world.budgets[a.room] = budgetRoom{eatenOn: map[int]bool{}}
	k.budgets[types.NamespacedName{Namespace: pdb.Namespace, Name: pdb.Name}] = a
	in := k.spaces[pdb.Namespace]
	if in == nil {
		in = &finder{byLabel: map[label][]*allowance{}}
		k.spaces[pdb.Namespace] = in
	}
	if a.hook != (label{}) {
		in.byLabel[a.hook] = append(in.byLabel[a.hook], a)
	} else {
		in.others = append(in.others, a)
	}
	k.staleBudgets[a] = true
	return a
}

func (k *Keeper) dropBudget(a *allowance) {
	for m := range a.members {
		k.disconnect(a, m)
	}
	in, is := k.spaces[a.pdb.Namespace], func(x *allowance) bool { return x == a }
	if a.hook != (label{}) {
		in.byLabel[a.hook] = slices.DeleteFunc(in.byLabel[a.hook], is)
	} else {
		in.others = slices.DeleteFunc(in.others, is)
	}
	delete(k.budgets, types.NamespacedName{Namespace: a.pdb.Namespace, Name: a.pdb.Name})
	delete(k.staleBudgets, a)
	k.freeRooms = append(k.freeRooms, a.room)
}

// connect makes a pod one that the budget selects.
func (k *Keeper) connect(a *allowance, m *member) { k.count(a, m, 1) }

// disconnect makes it one that the budget does not.
func (k *Keeper) disconnect(a *allowance, m *member) { k.count(a, m, -1) }

func (k *Keeper) count(a *allowance, m *member, by int) {
	if by > 0 {
		a.members[m] = struct{}{}
		m.budgets = append(m.budgets, a)
	} else {
		delete(a.members, m)
		m.budgets = slices.DeleteFunc(m.budgets, func(x *allowance) bool { return x == a })
	}
	k.staleBudgets[a] = true
	if m.slot >= 0 {
		k.unjudged[m] = struct{}{}
	}
	if m.eats() {
		eatenOn := k.world.budgets[a.room].eatenOn
		eatenOn[m.node] = true
		if a.eaten[m.node] += by; a.eaten[m.node] == 0 {
			delete(a.eaten, m.node)
			delete(eatenOn, m.node)
		}
	}
	switch {
	case budget.Finished(m.pod):
	case m.scales == nil:
		a.bare += by
	default:
		if a.scale[m.scales] += by; a.scale[m.scales] == 0 {
			delete(a.scale, m.scales)
		}
	}
}

// settle reckons what has become stale: budgets and quorums first, then the pods
// that depend on them.
func (k *Keeper) settle() {
	for a := range k.staleBudgets {
		k.reckon(a)
	}
	for o := range k.staleOwners {
		k.muster(o)
		if s := o.count(); s.first != nil {
			k.short[o] = s
		} else {
			delete(k.short, o)
		}
	}
	k.lineUp()
	for m := range k.unjudged {
		k.judge(m)
	}
	clear(k.staleBudgets)
	clear(k.staleOwners)
	clear(k.unjudged)
}

// reckon takes over the numbers of a budget.
func (k *Keeper) reckon(a *allowance) {
	r := &k.world.budgets[a.room]
	members, known := budget.Members{Pods: a.bare}, true
	for o := range a.scale {
		if o.facts.Desired < 0 {
			known = false
			continue
		}
		members.Pods += int(o.facts.Desired)
		members.Scale += int(o.facts.Desired)
	}
	r.source = &cluster.Budget{PodDisruptionBudget: a.pdb}
	r.atBest = budget.AtBest(a.pdb, members, known)
	r.serve(a.pdb)
	closed, passes := r.atBest == 0, budget.LetsUnreadyPass(a.pdb)
	if closed == a.closed && passes == a.passes {
		return
	}
	healthyToo := closed != a.closed
	a.closed, a.passes = closed, passes
	for m := range a.members {
		if m.slot >= 0 && (healthyToo || !budget.Healthy(m.pod)) {
			k.unjudged[m] = struct{}{}
		}
	}
}

// muster counts the members of a quorum set. When an owner becomes one, or is one no
// more, all of its pods are looked at again anyway.
func (k *Keeper) muster(o *owner) {
	if len(o.members) == 0 {
		if k.owners[o.facts.UID] == o {
			delete(k.owners, o.facts.UID)
		}
		k.disband(o)
		return
	}
	if !budget.Quorum(o.facts.Group, o.facts.Kind, o.facts.Desired) {
		k.disband(o)
		return
	}
	if o.set < 0 {
		if last := len(k.freeSets) - 1; last >= 0 {
			o.set, k.freeSets = k.freeSets[last], k.freeSets[:last]
		} else {
			o.set = len(k.world.sets)
			k.world.sets = append(k.world.sets, quorumSet{})
		}
	}
	q := quorumSet{source: &o.facts, missing: int(o.facts.Desired), missingOn: map[int]int{}}
	for m := range o.members {
		switch {
		case budget.Healthy(m.pod):
			q.missing--
		case m.node >= 0:
			q.missingOn[m.node]++
		}
	}
	q.missing = max(0, q.missing)
	k.world.sets[o.set] = q
}

// disband takes away the set of an owner that is no quorum any more.
func (k *Keeper) disband(o *owner) {
	if o.set >= 0 {
		k.freeSets = append(k.freeSets, o.set)
		o.set = -1
	}
}

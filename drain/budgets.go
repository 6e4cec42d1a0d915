// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// gate returns the gate of a budget.
func (d *Drainer) gate(key types.NamespacedName) *gate {
	g := d.gates[key]
	if g == nil {
		g = newGate(key)
		g.know(d.watcher.Budget(key.Namespace, key.Name))
		d.gates[key] = g
	}
	return g
}

func (d *Drainer) budgetsOf(pod *corev1.Pod) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, b := range d.watcher.BudgetsOf(pod) {
		keys = append(keys, types.NamespacedName{Namespace: b.Namespace, Name: b.Name})
	}
	return keys
}

// review looks at every budget and quorum again, after a time in which nobody did.
func (d *Drainer) review() {
	for _, q := range d.quorums {
		q.stale = true
	}
	for key := range d.gates {
		d.budgetChanged(key, cluster.Updated)
	}
}

// budgetChanged takes in a change of a budget: its pods may be let through now,
// or it may have other pods.
func (d *Drainer) budgetChanged(key types.NamespacedName, verb cluster.Verb) {
	pdb := d.watcher.Budget(key.Namespace, key.Name)
	if pdb == nil || verb != cluster.Updated || d.generations[key] != pdb.Generation {
		d.generations[key] = 0
		if pdb != nil {
			d.generations[key] = pdb.Generation
		}
		d.budgetsMoved(key.Namespace)
	}
	g := d.gates[key]
	if g == nil {
		return
	}
	g.see(pdb)
	for _, p := range slices.Clone(g.waiting) {
		if budget.PassesBy(p.pod, pdb) {
			d.withdraw(p)
			d.place(p)
		}
	}
}

// budgetsMoved finds the budgets of the pods of a namespace anew.
func (d *Drainer) budgetsMoved(namespace string) {
	var moved []*podDrain
	for _, p := range d.pods {
		if p.name.Namespace == namespace && p.waits() && !slices.Equal(p.budgets, d.budgetsOf(p.pod)) {
			moved = append(moved, p)
		}
	}
	slices.SortFunc(moved, func(a, b *podDrain) int { return cmp.Compare(a.name.Name, b.name.Name) })
	for _, p := range moved {
		d.withdraw(p)
		p.budgets = d.budgetsOf(p.pod)
		if p.stage != held {
			d.place(p)
		}
	}
}

// probe tells whether it is time to ask for a pod of a budget that seems to
// allow nothing, in case the cache misleads.
func (d *Drainer) probe(g *gate, now time.Time) bool {
	if g.passed > 0 || now.Before(g.probeAt) {
		return false
	}
	d.probeLater(g)
	return true
}

func (d *Drainer) probeLater(g *gate) {
	g.probeAt = d.clock.Now().Add(slowRetry)
	d.alarms.set(g.probeAt, func() {}) // waking up is enough: pump looks at probeAt
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// Codes of the Findings in a Plan.
const (
	// NeverEvicted: no eviction of the pod will ever be granted.
	NeverEvicted = "pod-never-evicted"
	// BudgetSyncFailed: the disruption controller cannot compute the budget, and lets
	// nothing go until it can. The finding of refit check has the same code.
	BudgetSyncFailed = "budget-sync-failed"
	// NodeNeverEmptied: neither the node nor any other of the run can be emptied, and
	// waiting does not help.
	NodeNeverEmptied = "node-never-emptied"
	// NoPlace: pods of the workload that have to leave a node will fit nowhere at that time.
	NoPlace = "pod-without-place"
	// NodeNotFinished: the node will not be finished unless something changes that is not refit's to change.
	NodeNotFinished = "node-not-finished"
)

// blockers are the pods, and the budgets, that keep nodes from ever being emptied.
func (w *World) blockers(targets []int) []cluster.Finding {
	list := []cluster.Finding{}
	failed := map[int][]string{} // by budget, the nodes that it keeps from being emptied
	w.each(targets, func(n int, p *pod) {
		if w.uncomputable(p) {
			if nodes := failed[p.budget]; len(nodes) == 0 || nodes[len(nodes)-1] != w.Name(n) {
				failed[p.budget] = append(nodes, w.Name(n))
			}
			return
		}
		if !p.stuck {
			return
		}
		f := cluster.Finding{
			Severity: cluster.Blocker, Code: NeverEvicted,
			Object: cluster.Object{Kind: "Pod", Namespace: p.source.Namespace, Name: p.source.Name},
		}
		f.Message = fmt.Sprintf("keeps node %s from being drained: %s", w.Name(n), budget.Refusal(p.source.Budgets).Message)
		list = append(list, f)
	})
	for b, nodes := range failed {
		source := w.budgets[b].source
		why, _ := budget.Broken(source)
		list = append(list, cluster.Finding{
			Severity: cluster.Blocker, Code: BudgetSyncFailed,
			Object:  cluster.Object{Kind: "PodDisruptionBudget", Namespace: source.Namespace, Name: source.Name},
			Message: fmt.Sprintf("keeps %s %s from being drained: the disruption controller cannot compute it: %s", phrase.Plural(len(nodes), "node", "nodes"), phrase.Few(nodes, fewNames), why),
			Hint:    budget.SyncFailure(source.PodDisruptionBudget, nil, why).Hint,
		})
	}
	cluster.SortFindings(list)
	return list
}

// uncomputable tells whether a pod waits for a budget that the disruption controller
// cannot compute.
func (w *World) uncomputable(p *pod) bool {
	if !p.gated || p.stuck {
		return false
	}
	_, failed := budget.Broken(w.budgets[p.budget].source)
	return failed
}

// closeUncomputable makes budgets that cannot be computed let nothing go, also when
// pods of them have become healthy.
func (w *World) closeUncomputable() {
	for i := range w.budgets {
		b := &w.budgets[i]
		if _, failed := budget.Broken(b.source); failed {
			b.allowed = min(b.allowed, -len(w.pods))
		}
	}
}

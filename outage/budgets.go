// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"slices"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// shortage is what becomes of the pods of a budget that several workloads share.
type shortage struct {
	changes
	budget *cluster.Budget
}

// shortages collects the budgets that lose pods and are shared, in the order of their names.
func (l *loss) shortages(list []judged) []*shortage {
	of := map[*cluster.Budget]*shortage{}
	var all []*shortage
	for i := range list {
		j := &list[i]
		if j.fate == FateFinished {
			continue
		}
		for _, b := range j.pod.Budgets {
			x, known := of[b]
			if !known {
				if isShared(b) {
					x = &shortage{changes{over: never}, b}
					all = append(all, x)
				}
				of[b] = x
			}
			if x == nil {
				continue // that of one workload
			}
			if budget.Healthy(j.pod.Pod) {
				x.lost++
			}
			if again := l.healthyAgain(j); again < never && wouldBeHealthy(j.pod) {
				x.gained = append(x.gained, again)
			}
		}
	}
	slices.SortFunc(all, func(a, b *shortage) int {
		return cmp.Or(cmp.Compare(a.budget.Namespace, b.budget.Namespace), cmp.Compare(a.budget.Name, b.budget.Name))
	})
	return all
}

// budgets says how many healthy pods are left of each budget that several workloads share.
func (l *loss) budgets(list []judged) []Budget {
	var out []Budget
	for _, x := range l.shortages(list) {
		required := demanded(x.budget)
		if required == 0 || x.lost == 0 && len(x.gained) == 0 {
			continue
		}
		b := Budget{Namespace: x.budget.Namespace, Name: x.budget.Name, Required: required, Before: healthyOf(x.budget.Pods)}
		for _, p := range x.budget.Pods {
			name := "Pod/" + p.Name
			if w := top(p); w != nil {
				name = w.Kind + "/" + w.Name
			}
			b.Workloads = append(b.Workloads, name)
		}
		slices.Sort(b.Workloads)
		b.Workloads = slices.Compact(b.Workloads)
		b.Steps = x.steps(b.Before)
		out = append(out, b)
	}
	return out
}

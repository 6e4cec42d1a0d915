// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
)

// space is the pods of one namespace, sorted by name.
type space struct {
	name string
	pods []*Pod
	// labelled are the pods by the value that they have for a label, for labels
	// that somebody has asked for.
	labelled map[string]map[string][]*Pod
}

// addBudgets comes after pods.
func addBudgets(s *Snapshot, o *objects, spaces map[string]*space) {
	for _, pdb := range o.budgets {
		s.Budgets = append(s.Budgets, &Budget{PodDisruptionBudget: pdb})
	}
	slices.SortFunc(s.Budgets, func(a, b *Budget) int { return compareMeta(a.PodDisruptionBudget, b.PodDisruptionBudget) })
	for _, b := range s.Budgets {
		in := spaces[b.Namespace]
		if in == nil {
			continue
		}
		selector := BudgetSelector(b.PodDisruptionBudget)
		alone := []*Budget{b} // what most of its pods have
		for _, p := range in.candidates(selector) {
			if !selector.Matches(labels.Set(p.Labels)) {
				continue
			}
			b.Pods = append(b.Pods, p)
			if p.Budgets == nil {
				p.Budgets = alone
			} else {
				p.Budgets = append(slices.Clip(p.Budgets), b)
			}
		}
	}
}

// candidates returns pods among which are all that selector matches, in order:
// those with a label that it demands, or all. Otherwise a namespace with
// thousands of budgets would take the square of its size.
func (n *space) candidates(selector labels.Selector) []*Pod {
	key, demanded, found := DemandedLabel(selector)
	if !found {
		return n.pods
	}
	byValue, known := n.labelled[key]
	if !known {
		byValue = map[string][]*Pod{}
		for _, p := range n.pods {
			if value, has := p.Labels[key]; has {
				byValue[value] = append(byValue[value], p)
			}
		}
		if n.labelled == nil {
			n.labelled = map[string]map[string][]*Pod{}
		}
		n.labelled[key] = byValue
	}
	return byValue[demanded]
}

// DemandedLabel returns a label that has one certain value on everything that
// selector matches, so that it can be looked up by that; found is false if the
// selector demands none.
func DemandedLabel(selector labels.Selector) (key, value string, found bool) {
	requirements, _ := selector.Requirements()
	for i := range requirements {
		key = requirements[i].Key()
		if value, found = selector.RequiresExactMatch(key); found {
			return key, value, true
		}
	}
	return "", "", false
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
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
		selector := budgetSelector(b.PodDisruptionBudget)
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
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		values := r.ValuesUnsorted()
		if len(values) != 1 || r.Operator() != selection.In && r.Operator() != selection.Equals && r.Operator() != selection.DoubleEquals {
			continue
		}
		byValue, known := n.labelled[r.Key()]
		if !known {
			byValue = map[string][]*Pod{}
			for _, p := range n.pods {
				if value, has := p.Labels[r.Key()]; has {
					byValue[value] = append(byValue[value], p)
				}
			}
			if n.labelled == nil {
				n.labelled = map[string]map[string][]*Pod{}
			}
			n.labelled[r.Key()] = byValue
		}
		return byValue[values[0]]
	}
	return n.pods
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Ground is what a Plan stands on: the parts of a cluster whose change makes it
// another plan. Pods come and go, and are not among them.
type Ground struct {
	Nodes   []GroundNode   `json:"nodes"`
	Budgets []GroundBudget `json:"budgets"`
}

// GroundNode is a node of the cluster.
type GroundNode struct {
	Name          string    `json:"name"`
	UID           types.UID `json:"uid"`
	Zone          string    `json:"zone,omitempty"`
	Unschedulable bool      `json:"unschedulable,omitempty"`
	NotReady      bool      `json:"notReady,omitempty"`
	// Allocatable is what it has for pods, as text.
	Allocatable string `json:"allocatable,omitempty"`
}

// GroundBudget is a PodDisruptionBudget that selects pods which have to leave.
type GroundBudget struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Demand is what it says, as text, Selector whom it says it of.
	Demand   string `json:"demand"`
	Selector string `json:"selector"`
	// AtBest is how many pods it lets go at once when all is well.
	AtBest int `json:"atBest"`
}

// GroundOf returns what plans for the nodes of the Intent stand on.
func (w *World) GroundOf(in *Intent) Ground {
	g := Ground{Nodes: []GroundNode{}, Budgets: []GroundBudget{}}
	for i, n := range w.snapshot.Nodes {
		g.Nodes = append(g.Nodes, GroundNode{
			Name: n.Name, UID: n.UID, Zone: n.Labels[zoneLabel], Unschedulable: n.Spec.Unschedulable, NotReady: !ready(n.Node),
			Allocatable: w.allocatable(i),
		})
	}
	budgets := map[*cluster.Budget]bool{}
	for _, name := range in.Nodes {
		n, known := w.byName[name]
		if !known {
			continue
		}
		for _, i := range w.nodes[n].pods {
			for _, b := range w.pods[i].source.Budgets {
				budgets[b] = true
			}
		}
	}
	for b := range budgets {
		g.Budgets = append(g.Budgets, GroundBudget{Namespace: b.Namespace, Name: b.Name, Demand: demandOf(b), Selector: selectorOf(b), AtBest: atBest(b)})
	}
	slices.SortFunc(g.Budgets, func(a, b GroundBudget) int { return cmp.Compare(a.key(), b.key()) })
	return g
}

func (w *World) allocatable(node int) string {
	a := w.snapshot.Nodes[node].Status.Allocatable
	return fmt.Sprintf("cpu %s, memory %s, pods %s", a.Cpu(), a.Memory(), a.Pods())
}

func demandOf(b *cluster.Budget) string {
	text := budget.Wording(b.PodDisruptionBudget)
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil {
		text += ", unhealthyPodEvictionPolicy: " + string(*p)
	}
	return text
}

func selectorOf(b *cluster.Budget) string {
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		selector = labels.Nothing()
	}
	return selector.String()
}

func (n GroundNode) key() string   { return "node " + n.Name }
func (b GroundBudget) key() string { return "PodDisruptionBudget " + b.Namespace + "/" + b.Name }

// Changes says, line by line, what of g has got worse in now for a plan for the
// nodes of the Intent; nothing if none has. A node more, or one that is back, or a
// budget that lets more pods go, is no reason to plan again.
func (g Ground) Changes(in *Intent, now Ground) []string {
	changes := compare(g.Nodes, now.Nodes, func(old, now GroundNode) string {
		_, target := slices.BinarySearch(in.Nodes, old.Name)
		switch {
		case old.UID != now.UID:
			return "was replaced by another one of that name"
		case now.Unschedulable && !old.Unschedulable:
			return "was cordoned"
		case old.Unschedulable && !now.Unschedulable && target:
			return "was uncordoned: it would have stayed cordoned"
		case now.NotReady && !old.NotReady:
			return "is not Ready any more"
		case old.Zone != now.Zone:
			return fmt.Sprintf("moved from zone %q to %q", old.Zone, now.Zone)
		case old.Allocatable != now.Allocatable:
			return fmt.Sprintf("has %s now, not %s", now.Allocatable, old.Allocatable)
		}
		return ""
	}, false)
	return append(changes, compare(g.Budgets, now.Budgets, func(old, now GroundBudget) string {
		switch {
		case old.Demand != now.Demand:
			return fmt.Sprintf("says %s now, not %s", now.Demand, old.Demand)
		case old.Selector != now.Selector:
			return fmt.Sprintf("selects %s now, not %s", now.Selector, old.Selector)
		case now.AtBest < old.AtBest:
			return fmt.Sprintf("lets %d pods go at once at best now, not %d", now.AtBest, old.AtBest)
		}
		return ""
	}, true)...)
}

// compare words the differences of two lists: differs returns "" for one that
// does not matter; what is new matters if additions says so.
func compare[T interface{ key() string }](old, now []T, differs func(old, now T) string, additions bool) []string {
	var changes []string
	was := map[string]T{}
	for _, x := range old {
		was[x.key()] = x
	}
	for _, x := range now {
		before, known := was[x.key()]
		delete(was, x.key())
		if !known {
			if additions {
				changes = append(changes, x.key()+" is new")
			}
			continue
		}
		if what := differs(before, x); what != "" {
			changes = append(changes, x.key()+" "+what)
		}
	}
	for _, x := range old {
		if _, gone := was[x.key()]; gone {
			changes = append(changes, x.key()+" is gone")
		}
	}
	return changes
}

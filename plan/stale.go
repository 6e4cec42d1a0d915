// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Ground is what a Plan stands on: the parts of a cluster whose change makes it
// another plan. Pods come and go, and are not among them.
type Ground struct {
	Nodes   []GroundNode   `json:"nodes"`
	Budgets []GroundBudget `json:"budgets"`
	// others are the budgets of the cluster that no pod which has to leave is under.
	// They are not kept with a plan: there may be thousands of them.
	others map[string]bool
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
	// Taints are those that keep pods away and that nobody but people and their
	// tools put there, sorted. Those of Kubernetes itself come and go.
	Taints []string `json:"taints,omitempty"`
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

	created time.Time
}

// GroundOf returns what plans for the nodes of the Intent stand on.
func (w *World) GroundOf(in *Intent) Ground {
	g := Ground{Nodes: []GroundNode{}, Budgets: []GroundBudget{}, others: map[string]bool{}}
	for i, n := range w.snapshot.Nodes {
		g.Nodes = append(g.Nodes, GroundNode{
			Name: n.Name, UID: n.UID, Zone: n.Labels[zoneLabel], Unschedulable: n.Spec.Unschedulable, NotReady: !cluster.Ready(n.Node),
			Allocatable: w.allocatable(i), Taints: lastingTaints(n.Node),
		})
	}
	concerned := map[*cluster.Budget]bool{}
	for _, name := range in.Nodes {
		n, known := w.byName[name]
		if !known {
			continue
		}
		for _, i := range w.nodes[n].pods {
			for _, b := range w.pods[i].source.Budgets {
				concerned[b] = true
			}
		}
	}
	for _, b := range w.snapshot.Budgets {
		x := GroundBudget{Namespace: b.Namespace, Name: b.Name}
		if !concerned[b] {
			g.others[x.key()] = true
			continue
		}
		x.Demand, x.Selector = demandOf(b), cluster.BudgetSelector(b.PodDisruptionBudget).String()
		x.AtBest, x.created = atBest(b), b.CreationTimestamp.Time
		g.Budgets = append(g.Budgets, x)
	}
	slices.SortFunc(g.Budgets, func(a, b GroundBudget) int { return cmp.Compare(a.key(), b.key()) })
	return g
}

func lastingTaints(node *corev1.Node) []string {
	var list []string
	for i := range node.Spec.Taints {
		t := &node.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/") {
			list = append(list, t.ToString())
		}
	}
	slices.Sort(list)
	return list
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

func (n GroundNode) key() string   { return "node " + n.Name }
func (b GroundBudget) key() string { return "PodDisruptionBudget " + b.Namespace + "/" + b.Name }

// Changes says, line by line, what has changed from g, the ground of a plan for the
// nodes of the Intent that was made at that time, to now, so that it is another plan;
// nothing if nothing has. A node more, or one that is back, or a budget that lets more
// pods go, is no reason to plan again, nor that pods under a budget have come to the
// nodes or have left them.
func (g Ground) Changes(in *Intent, now Ground, made time.Time) []string {
	nodes := difference[GroundNode]{
		isNew:  func(GroundNode) bool { return false },
		isGone: func(GroundNode) bool { return true },
		differs: func(old, now GroundNode) string {
			_, target := slices.BinarySearch(in.Nodes, old.Name)
			taint := slices.IndexFunc(now.Taints, func(t string) bool { return !slices.Contains(old.Taints, t) })
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
			case taint >= 0:
				return "has the taint " + now.Taints[taint] + " now"
			}
			return ""
		},
	}
	budgets := difference[GroundBudget]{
		isNew:  func(b GroundBudget) bool { return b.created.After(made) },
		isGone: func(b GroundBudget) bool { return !now.others[b.key()] },
		differs: func(old, now GroundBudget) string {
			switch {
			case old.Demand != now.Demand:
				return fmt.Sprintf("says %s now, not %s", now.Demand, old.Demand)
			case old.Selector != now.Selector:
				return fmt.Sprintf("selects %s now, not %s", now.Selector, old.Selector)
			case now.AtBest < old.AtBest:
				return fmt.Sprintf("lets %d go at once at best now, not %d", now.AtBest, old.AtBest)
			}
			return ""
		},
	}
	return append(nodes.between(g.Nodes, now.Nodes), budgets.between(g.Budgets, now.Budgets)...)
}

// difference is what matters between two lists of things.
type difference[T interface{ key() string }] struct {
	// differs words the difference between the two of a key; "" for one that does not matter.
	differs func(old, now T) string
	// isNew and isGone tell of what is in one of the lists alone whether that is so.
	isNew, isGone func(T) bool
}

func (d *difference[T]) between(old, now []T) []string {
	var changes []string
	was := map[string]T{}
	for _, x := range old {
		was[x.key()] = x
	}
	for _, x := range now {
		before, known := was[x.key()]
		delete(was, x.key())
		switch {
		case known:
			if what := d.differs(before, x); what != "" {
				changes = append(changes, x.key()+" "+what)
			}
		case d.isNew(x):
			changes = append(changes, x.key()+" is new")
		}
	}
	for _, x := range old {
		if _, missing := was[x.key()]; missing && d.isGone(x) {
			changes = append(changes, x.key()+" is gone")
		}
	}
	return changes
}

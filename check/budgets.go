// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

func checkBudgets(c *checker) {
	for _, b := range c.s.Budgets {
		c.checkBudget(b)
	}
}

func (c *checker) checkBudget(b *cluster.Budget) {
	object := budgetObject(b)
	if len(b.Pods) == 0 {
		if !c.selectsTemplate(b) {
			c.add(BudgetSelectsNothing, object, "selects no pod and no pod template in namespace %s", b.Namespace)
		}
		return
	}
	if !slices.ContainsFunc(b.Pods, moves) {
		return // nobody would ask it
	}
	members, known := budget.Steady(b)
	demand, err := budget.Of(b.PodDisruptionBudget, members)
	if err != nil {
		c.add(BudgetSyncFailed, object, "cannot be computed: %v", err)
		return
	}
	if why, failed := budget.SyncFailed(b.PodDisruptionBudget); failed {
		c.add(BudgetSyncFailed, object, "cannot be computed%s", because("", why))
		return
	}
	if known && demand.AtBest(members) == 0 {
		c.neverAllows(b, members, demand)
		return
	}
	c.checkRoomNow(b)
}

func (c *checker) neverAllows(b *cluster.Budget, members budget.Members, demand budget.Demand) {
	object, wording := budgetObject(b), budget.Wording(b.PodDisruptionBudget)
	switch {
	case b.Spec.MaxUnavailable == nil && b.Spec.MinAvailable == nil:
		c.add(BudgetNeverAllows, object, "never lets a pod go: it gives %s", wording)
	case demand.Expected == 0:
		c.add(BudgetNeverAllows, object, "never lets a pod go: %s is counted against the scale of controllers, and its %s %s none",
			wording, phrase.Count(members.Pods, "pod"), phrase.Plural(members.Pods, "has", "have"))
	case members.Pods == 1:
		c.add(BudgetSingleReplica, object, "never lets %s go, the only pod that it selects: %s", live(b.Pods)[0].Name, wording)
	default:
		c.add(BudgetNeverAllows, object, "never lets a pod go: %s demands %d healthy pods, and there are %d", wording, demand.Desired, members.Pods)
	}
}

// checkRoomNow looks at what the disruption controller last computed.
func (c *checker) checkRoomNow(b *cluster.Budget) {
	status := &b.Status
	if status.DisruptionsAllowed > 0 || status.ExpectedPods == 0 || status.ObservedGeneration < b.Generation {
		return
	}
	e := budget.Explain(b.PodDisruptionBudget, raw(b.Pods))
	stuck := false
	var eaters []string
	for _, name := range e.Unready {
		why, hopeless := c.unready(c.s.Pod(b.Namespace, name))
		stuck = stuck || hopeless
		eaters = append(eaters, name+why)
	}
	if missing := int(e.ExpectedPods) - len(live(b.Pods)); missing > 0 {
		eaters = append(eaters, phrase.Count(missing, "pod")+" that should be there and "+phrase.Plural(missing, "is", "are")+" not")
	}
	text := fmt.Sprintf("lets no pod go now: %d healthy, %d demanded", e.CurrentHealthy, e.DesiredHealthy)
	if len(eaters) > 0 {
		text += "; used up by " + some(eaters)
	}
	code := BudgetWaiting
	if stuck {
		code = BudgetExhausted
	}
	c.add(code, budgetObject(b), "%s", text)
}

// unready says why p is not healthy, and whether it will hardly become so by itself.
func (c *checker) unready(p *cluster.Pod) (why string, hopeless bool) {
	if why, hopeless = budget.Unready(p.Pod, c.s.Time); why != "" {
		why = " (" + why + ")"
	}
	return why, hopeless
}

// live leaves out the pods that have finished.
func live(pods []*cluster.Pod) []*cluster.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p *cluster.Pod) bool { return budget.Finished(p.Pod) })
}

// selectsTemplate tells whether b would select pods of a workload that has none now.
func (c *checker) selectsTemplate(b *cluster.Budget) bool {
	selector := cluster.BudgetSelector(b.PodDisruptionBudget)
	return slices.ContainsFunc(c.s.Workloads, func(w *cluster.Workload) bool {
		return w.Namespace == b.Namespace && w.PodSpec != nil && selector.Matches(w.PodLabels)
	})
}

func budgetObject(b *cluster.Budget) cluster.Object {
	return cluster.Object{Kind: "PodDisruptionBudget", Namespace: b.Namespace, Name: b.Name}
}

// checkTwoBudgets tells of pods that more than one budget selects, together for
// each owner and set of budgets.
func checkTwoBudgets(c *checker) {
	type key struct {
		owner   cluster.Object
		budgets string
	}
	var found groups[key]
	for _, p := range c.s.Pods {
		if len(p.Budgets) < 2 || !moves(p) || budget.Ignored(p.Pod) {
			continue
		}
		var names []string
		for _, b := range p.Budgets {
			names = append(names, b.Name)
		}
		found.add(key{p.Owner(), strings.Join(names, ", ")}, p)
	}
	for _, k := range found.keys {
		pods := found.pods[k]
		if k.owner.Kind == "Pod" {
			c.add(PodTwoBudgets, k.owner, "is selected by %d budgets: %s", len(pods[0].Budgets), k.budgets)
			continue
		}
		c.add(PodTwoBudgets, k.owner, "%s of it %s selected by %d budgets (%s): %s", phrase.Count(len(pods), "pod"), phrase.Plural(len(pods), "is", "are"), len(pods[0].Budgets), k.budgets, some(podNames(pods)))
	}
}

func podNames(pods []*cluster.Pod) []string {
	names := make([]string, len(pods))
	for i, p := range pods {
		names[i] = p.Name
	}
	return names
}

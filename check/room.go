// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"strings"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// checkRoom asks for every pod that would have to move where its replacement
// could run while its node is away.
func checkRoom(c *checker) {
	type group struct {
		owner   cluster.Object
		reasons string
	}
	type place struct {
		node   *cluster.Node
		budget *cluster.Budget
	}
	// Pods of one controller on one node get the same answer, unless their volumes differ.
	type question struct {
		controller *cluster.Workload
		node       *cluster.Node
		volumes    string
	}
	answers := map[question]string{}
	var homeless groups[group]
	var held groups[place]
	for _, p := range c.s.Pods {
		if !moves(p) || p.DeletionTimestamp != nil || len(p.Controllers) == 0 {
			continue
		}
		var volumes []string
		for _, v := range p.Volumes {
			volumes = append(volumes, v.Name)
		}
		q := question{p.Controllers[0], p.Host, strings.Join(volumes, " ")}
		answer, known := answers[q]
		if !known {
			if node, reasons := c.room.Anywhere(p.Pod, []string{p.Host.Name}); node == "" {
				answer = strings.Join(reasons, "; ")
			}
			answers[q] = answer
		}
		if answer == "" {
			continue
		}
		homeless.add(group{p.Owner(), answer}, p)
		for _, b := range p.Budgets {
			held.add(place{p.Host, b}, p)
		}
	}
	for _, g := range homeless.keys {
		pods := homeless.pods[g]
		c.add(NoRoom, g.owner, "%s would fit on no other node (%s): %s", phrase.Count(len(pods), "pod"), g.reasons, some(placesOf(pods)))
	}
	for _, h := range held.keys {
		pods := held.pods[h]
		members, known := budget.Steady(h.budget)
		demand, err := budget.Of(h.budget.PodDisruptionBudget, members)
		if !known || err != nil {
			continue
		}
		// What never lets any go is told as that.
		if most := demand.AtBest(members); most > 0 && len(pods) > most {
			c.add(NoRoomWithinBudget, budgetObject(h.budget), "lets go %d at a time at best (%s), but %d of its pods on %s fit on no other node: %s",
				most, budget.Wording(h.budget.PodDisruptionBudget), len(pods), h.node.Name, some(podNames(pods)))
		}
	}
}

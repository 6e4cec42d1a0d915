// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// leftCordoned tells of the nodes of a run that are cordoned already, which it
// maintains and does not uncordon. Those that an earlier run cordoned are told
// together: most often that run was stopped, and the new one is a mistake.
func leftCordoned(s *cluster.Snapshot, spec *Spec) []string {
	var warnings, runs []string
	byRun := map[string][]string{}
	for _, target := range spec.Nodes {
		var mark cluster.Mark
		if node := s.Node(target.Name); node != nil {
			mark, _ = cluster.MarkOf(node.Node)
		}
		switch {
		case !target.Unschedulable:
		case spec.replaced(target.Name):
			warnings = append(warnings, "node "+target.Name+" is cordoned already: it is replaced by one that is not")
		case mark.OfDrain():
			warnings = append(warnings, fmt.Sprintf("node %s is cordoned already, by refit drain: it is maintained and stays cordoned; refit uncordon %s brings it back",
				target.Name, target.Name))
		case mark.Run == "", mark.WasUnschedulable: // somebody else's cordon, which stays in any case
			warnings = append(warnings, "node "+target.Name+" is cordoned already: it is maintained and stays cordoned")
		default:
			if byRun[mark.Run] == nil {
				runs = append(runs, mark.Run)
			}
			byRun[mark.Run] = append(byRun[mark.Run], target.Name)
		}
	}
	for _, run := range runs {
		nodes := byRun[run]
		const most = 5
		them := phrase.Plural(len(nodes), "it", "them")
		warnings = append(warnings, fmt.Sprintf(
			"run %s has cordoned %s and not brought %s back: refit runs resume %s carries it on, refit runs abort %s uncordons %s; a new run maintains %s from the start and leaves %s cordoned",
			run, phrase.Few(nodes, most), them, run, run, them, them, them))
	}
	return warnings
}

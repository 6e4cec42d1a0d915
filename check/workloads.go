// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// checkWorkloads looks at what is to run in several copies, or in one.
func checkWorkloads(c *checker) {
	for _, w := range c.s.Workloads {
		if w.Controller != nil || !replicated(w) {
			continue
		}
		pods := slices.DeleteFunc(slices.Clone(w.Pods), func(p *cluster.Pod) bool {
			return budget.Finished(p.Pod) || p.DeletionTimestamp != nil || p.Host == nil
		})
		if len(pods) == 0 {
			continue
		}
		desired := int(w.Desired)
		if desired < 0 { // a kind of which only the pods are known
			desired = len(pods)
		}
		node, same := pods[0].Host, true
		budgeted := false
		for _, p := range w.Pods {
			budgeted = budgeted || len(p.Budgets) > 0
		}
		for _, p := range pods {
			same = same && p.Host == node
		}
		if len(pods) > 1 && same {
			c.add(ReplicasOnOneNode, w.Object(), "all its %d pods are on %s", len(pods), node.Name)
		}
		switch {
		case budgeted:
		case desired > 1:
			c.add(WorkloadWithoutBudget, w.Object(), "%d replicas and no budget", desired)
		case desired == 1:
			c.add(WorkloadSingleReplica, w.Object(), "its only pod is %s on %s", pods[0].Name, node.Name)
		}
	}
}

// replicated tells whether w keeps a number of pods running: not a DaemonSet,
// which has one per node, and not what runs to an end.
func replicated(w *cluster.Workload) bool {
	switch w.Kind {
	case "DaemonSet", "Job", "CronJob":
		return false
	}
	return true
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

// Codes of the blockers of a plan, beside those of package plan.
const (
	// FlagMissing: a drain would refuse the pods of a node without one more flag.
	FlagMissing = "drain-flag-missing"
	// NodeLost: the kubelet of a node does not answer, so that its drain would not end.
	NodeLost = "node-lost"
	// CannotBegin: something else is in the way of the run as a whole.
	CannotBegin = "run-cannot-begin"
)

// PlanCodes lists every code that a blocker or a warning of a plan can have, in
// the order of the reference.
func PlanCodes() []cluster.Code {
	return []cluster.Code{
		{Name: plan.NeverEvicted, Severity: cluster.Blocker, Meaning: "No eviction of a pod will ever be granted: its budget never lets one go, or it has two.",
			Do: "Widen the budget, run more replicas, or leave the node out. For a Deployment of one replica: --surge-singletons."},
		{Name: plan.BudgetSyncFailed, Severity: cluster.Blocker, Meaning: "The disruption controller cannot compute a budget, and allows nothing until it can.",
			Do: "Give minAvailable as a number: percentages and maxUnavailable need pods whose controller has a scale; or leave the node out."},
		{Name: plan.NodeNeverEmptied, Severity: cluster.Blocker, Meaning: "The node cannot be emptied, nor any other of the run, and waiting does not help: pods that will hardly become Ready use a budget up, or others take the limits.",
			Do: "Repair what the message names."},
		{Name: FlagMissing, Severity: cluster.Blocker, Meaning: "A drain refuses pods of the node: local data would be lost, or nobody would replace them.",
			Do: "Allow it with the flag that the message names, or leave the pods out with --pod-selector."},
		{Name: NodeLost, Severity: cluster.Blocker, Meaning: "The kubelet of a node does not answer, and the node holds pods that would have to leave: they would be deleted, and stay Terminating.",
			Do: "Leave the node out, or bring it back. If its machine is off for certain: refit drain with --confirm-node-is-off first."},
		{Name: CannotBegin, Severity: cluster.Blocker, Meaning: "The run as a whole cannot begin: as many nodes are out already as may be, for example.", Do: "See the message."},
		{Name: plan.NoPlace, Severity: cluster.Warning, Meaning: "Pods that have to leave a node will find no place at that time, and wait until there is one.",
			Do: "Add room where the pods may run, take fewer nodes at once, or accept that they wait."},
		{Name: plan.NodeNotFinished, Severity: cluster.Warning, Meaning: "A node cannot be started, or not be finished, unless something changes that is not refit's to change.",
			Do: "Repair what the message names: most often pods that are not Ready and use a budget up."},
	}
}

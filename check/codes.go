// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import "refit.dev/refit/cluster"

// Code is a kind of Finding: what it is called, how bad it is, what it means in
// general and what can be done about it.
type Code struct {
	Name     string
	Severity cluster.Severity
	Meaning  string
	Do       string
}

// The codes of the findings.
const (
	NodeNotReady      = "node-not-ready"
	NodeNotReadyEmpty = "node-not-ready-empty"
	NodeCordoned      = "node-cordoned"
	NodeTainted       = "node-tainted"
	NodePressure      = "node-pressure"

	BudgetNeverAllows    = "budget-never-allows"
	BudgetSingleReplica  = "budget-single-replica"
	BudgetSyncFailed     = "budget-sync-failed"
	BudgetExhausted      = "budget-exhausted"
	BudgetWaiting        = "budget-waiting"
	BudgetSelectsNothing = "budget-selects-nothing"
	PodTwoBudgets        = "pod-two-budgets"

	PodUnmanaged   = "pod-unmanaged"
	PodLocalData   = "pod-local-data"
	PodTerminating = "pod-stuck-terminating"
	PodFinalizer   = "pod-finalizer"
	PodStatic      = "pod-static"

	ReplicasOnOneNode     = "replicas-on-one-node"
	WorkloadWithoutBudget = "workload-without-budget"
	WorkloadSingleReplica = "workload-single-replica"

	NoRoom             = "no-room"
	NoRoomWithinBudget = "no-room-within-budget"

	WebhookFailClosed   = "webhook-fail-closed"
	WebhookSelfBlocking = "webhook-self-blocking"
	WebhookUnavailable  = "webhook-unavailable"

	VersionSkew        = "version-skew"
	VersionUnsupported = "version-unsupported"
	VersionUnknown     = "version-unknown"

	ControlPlaneSingle = "control-plane-single"
	ControlPlaneHosted = "control-plane-hosted"
)

// Codes lists every code that Run can give, in the order of the reference.
func Codes() []Code {
	return []Code{
		{NodeNotReady, cluster.Blocker, "A node is not Ready and holds pods that would have to leave: its kubelet does not end them, so that a drain of it hangs.",
			"Bring the node back, or delete the Node object if the machine is gone for good (or taint it node.kubernetes.io/out-of-service)."},
		{NodeNotReadyEmpty, cluster.Warning, "A node is not Ready and holds nothing that would have to leave. It counts as unavailable.",
			"Bring the node back, or delete the Node object if the machine is gone for good."},
		{NodeTainted, cluster.Info, "A run of refit has still to maintain the node, so that pods are placed elsewhere first; or it was killed.",
			"If no run is at work: refit runs resume RUN, or refit runs abort RUN; refit uncordon NODE removes the taint of one node."},
		{NodeCordoned, cluster.Warning, "A node takes no new pods. It counts as unavailable, and evicted pods find less room.",
			"If its maintenance is over: refit uncordon NODE."},
		{NodePressure, cluster.Warning, "A node is short of memory, disk or process IDs, or has no network: its kubelet may evict pods without regard to budgets, and the scheduler avoids it.",
			"Relieve the node before others are taken out."},

		{BudgetNeverAllows, cluster.Blocker, "A budget demands as many healthy pods as there can be: it never lets one go, however long a drain waits.",
			"Demand fewer than there are replicas (maxUnavailable: 1 always works), or add a replica."},
		{BudgetSingleReplica, cluster.Blocker, "A workload of one replica is under a budget that demands that replica: it can never be evicted.",
			"Run two replicas, or let the one go: maxUnavailable: 1. If it is a Deployment: refit maintain --surge-singletons starts its replacement first."},
		{BudgetSyncFailed, cluster.Blocker, "The disruption controller cannot compute a budget, and allows nothing until it can.",
			"Give minAvailable as a number: percentages and maxUnavailable need pods whose controller has a scale."},
		{BudgetExhausted, cluster.Blocker, "A budget allows no disruption now, and pods that use it up have not been ready for five minutes or cannot start: waiting alone will not help.",
			"Repair or remove the pods that are not ready; or set unhealthyPodEvictionPolicy: AlwaysAllow, so that those at least can be evicted."},
		{BudgetWaiting, cluster.Warning, "A budget allows no disruption now, because pods of it are starting, stopping or missing. A drain waits for them.",
			"Wait until the pods are ready."},
		{BudgetSelectsNothing, cluster.Warning, "A budget's selector matches no pod and no template: it protects nothing.",
			"Correct the selector, or delete the budget."},
		{PodTwoBudgets, cluster.Blocker, "More than one budget selects a pod. The Eviction API refuses such a pod for ever.",
			"Narrow the selectors so that each pod has one budget."},

		{PodUnmanaged, cluster.Warning, "A pod has no controller: evicted, it is gone for good. A drain refuses its node unless --force is given.",
			"Put it under a controller, delete it, or drain with --force."},
		{PodLocalData, cluster.Warning, "Pods keep data in emptyDir volumes, which is lost when they move. A drain refuses their nodes unless --delete-emptydir-data is given.",
			"If the data may be lost, drain with --delete-emptydir-data."},
		{PodTerminating, cluster.Blocker, "A pod was deleted, its time is over, and it is still there: a drain of its node waits for it.",
			"Remove the finalizer's cause, or bring its kubelet back; as a last resort delete it with --grace-period=0 --force."},
		{PodFinalizer, cluster.Warning, "Pods carry finalizers: once evicted they stay until somebody removes those.",
			"Make sure that whoever removes the finalizer is running."},
		{PodStatic, cluster.Info, "Static pods run on a node. They cannot be moved: they stop and come back with it.",
			"Maintain such nodes one at a time if the pods are part of the control plane."},

		{ReplicasOnOneNode, cluster.Warning, "All replicas of a workload are on one node: whatever happens to it happens to all of them.",
			"Spread them: topologySpreadConstraints or pod anti-affinity by kubernetes.io/hostname."},
		{WorkloadWithoutBudget, cluster.Warning, "A workload of several replicas has no budget: all of them may be evicted at the same time.",
			"Add a PodDisruptionBudget, for example with maxUnavailable: 1."},
		{WorkloadSingleReplica, cluster.Info, "A workload of one replica has no budget: it is away while its pod moves.",
			"Run two replicas if that matters."},

		{NoRoom, cluster.Warning, "Replacements of pods would fit on no other node while theirs is away: they wait until it is back.",
			"Add room, or loosen what ties the pods to their nodes."},
		{NoRoomWithinBudget, cluster.Blocker, "More pods of one budget than it ever lets go are on a node and fit on no other: the node cannot be emptied.",
			"Add room, or loosen what ties the pods to their nodes."},

		{WebhookFailClosed, cluster.Warning, "An admission webhook that refuses when it does not answer sees evictions, pods, or nodes: if its own pods are away, so is maintenance.",
			"Run several replicas of it under a budget, on several nodes; or exclude what it need not see; or set failurePolicy: Ignore."},
		{WebhookSelfBlocking, cluster.Blocker, "All ready pods of a fail-closed webhook are on one node, and the webhook sees the creation of its own pods: once that node is emptied it cannot come back.",
			"Exclude its own namespace with a namespaceSelector, and run it on several nodes."},
		{WebhookUnavailable, cluster.Blocker, "A fail-closed webhook that sees evictions, pods or nodes has nobody behind it: what it sees is refused now.",
			"Bring its pods back, or delete the webhook configuration if it is a leftover."},

		{VersionSkew, cluster.Blocker, "Components run in versions that the version-skew policy does not allow together; a component that restarts may not work with the others.",
			"Bring the components within the policy first: https://kubernetes.io/releases/version-skew-policy/"},
		{VersionUnsupported, cluster.Warning, "A component is of a minor version that gets no fixes any more.",
			"Upgrade, one minor at a time."},
		{VersionUnknown, cluster.Info, "The version of a component could not be told, and was not held against the others.",
			"Compare it by hand with the policy: https://kubernetes.io/releases/version-skew-policy/"},

		{ControlPlaneSingle, cluster.Warning, "One node runs the only API server: while it is in maintenance nothing else can be done.",
			"Maintain it alone, and last; consider three control-plane nodes."},
		{ControlPlaneHosted, cluster.Info, "No control plane is to be seen in the cluster: somebody else runs it, or it does not run as static pods. Its versions are known from the API server's answer only.",
			"Ask the provider about its maintenance."},

		{cluster.CodeUnread, cluster.Warning, "Objects may not be read, so that what depends on them was not checked.",
			"Allow this user get, list and watch of the resource."},
		{cluster.CodeTorn, cluster.Info, "Objects were listed at different moments, because the API server could not list all of them as of the same one.",
			"Run it again if something looks odd."},
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import "refit.dev/refit/cluster"

// The codes of the findings.
const (
	NodeNotReady      = "node-not-ready"
	NodeNotReadyEmpty = "node-not-ready-empty"
	NodeOutOfService  = "node-out-of-service"
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
func Codes() []cluster.Code {
	return []cluster.Code{
		{Name: NodeNotReady, Severity: cluster.Blocker, Meaning: "A node is not Ready and holds pods that would have to leave: its kubelet does not end them, so that a drain of it hangs.",
			Do: "Bring the node back; or delete the Node object if the machine is gone for good; or, if it is off for certain, refit drain with --confirm-node-is-off."},
		{Name: NodeNotReadyEmpty, Severity: cluster.Warning, Meaning: "A node is not Ready and holds nothing that would have to leave. It counts as unavailable.",
			Do: "Bring the node back, or delete the Node object if the machine is gone for good."},
		{Name: NodeOutOfService, Severity: cluster.Warning, Meaning: "A node has the taint node.kubernetes.io/out-of-service, as refit drain --confirm-node-is-off sets it: pods are deleted and kept away, also when the machine is back.",
			Do: "When the node is Ready again: refit uncordon NODE takes off the taint that refit has set; kubectl taint nodes NODE node.kubernetes.io/out-of-service- any other."},
		{Name: NodeTainted, Severity: cluster.Info, Meaning: "A run of refit has still to maintain the node, so that pods are placed elsewhere first; or it was killed.",
			Do: "If no run is at work: refit runs resume RUN, or refit runs abort RUN; refit uncordon NODE removes the taint of one node."},
		{Name: NodeCordoned, Severity: cluster.Warning, Meaning: "A node takes no new pods. It counts as unavailable, and evicted pods find less room.",
			Do: "If its maintenance is over: refit uncordon NODE."},
		{Name: NodePressure, Severity: cluster.Warning, Meaning: "A node is short of memory, disk or process IDs, or has no network: its kubelet may evict pods without regard to budgets, and the scheduler avoids it.",
			Do: "Relieve the node before others are taken out."},

		{Name: BudgetNeverAllows, Severity: cluster.Blocker, Meaning: "A budget demands as many healthy pods as there can be: it never lets one go, however long a drain waits.",
			Do: "Demand fewer than there are replicas (maxUnavailable: 1 always works), or add a replica."},
		{Name: BudgetSingleReplica, Severity: cluster.Blocker, Meaning: "A workload of one replica is under a budget that demands that replica: it can never be evicted.",
			Do: "Run two replicas, or let the one go: maxUnavailable: 1. If it is a Deployment: refit maintain --surge-singletons starts its replacement first."},
		{Name: BudgetSyncFailed, Severity: cluster.Blocker, Meaning: "The disruption controller cannot compute a budget, and allows nothing until it can.",
			Do: "Give minAvailable as a number: percentages and maxUnavailable need pods whose controller has a scale."},
		{Name: BudgetExhausted, Severity: cluster.Blocker, Meaning: "A budget allows no disruption now, and pods that use it up have not been ready for ten minutes or cannot start: waiting alone will not help.",
			Do: "Repair or remove the pods that are not ready; or set unhealthyPodEvictionPolicy: AlwaysAllow, so that those at least can be evicted."},
		{Name: BudgetWaiting, Severity: cluster.Warning, Meaning: "A budget allows no disruption now, because pods of it are starting, stopping or missing. A drain waits for them.",
			Do: "Wait until the pods are ready."},
		{Name: BudgetSelectsNothing, Severity: cluster.Warning, Meaning: "A budget's selector matches no pod and no template: it protects nothing.",
			Do: "Correct the selector, or delete the budget."},
		{Name: PodTwoBudgets, Severity: cluster.Blocker, Meaning: "More than one budget selects a pod. The Eviction API refuses such a pod for ever.",
			Do: "Narrow the selectors so that each pod has one budget."},

		{Name: PodUnmanaged, Severity: cluster.Warning, Meaning: "A pod has no controller: evicted, it is gone for good. A drain refuses its node unless --force is given.",
			Do: "Put it under a controller, delete it, or drain with --force."},
		{Name: PodLocalData, Severity: cluster.Warning, Meaning: "Pods keep data in emptyDir volumes, which is lost when they move. A drain refuses their nodes unless --delete-emptydir-data is given.",
			Do: "If the data may be lost, drain with --delete-emptydir-data."},
		{Name: PodTerminating, Severity: cluster.Blocker, Meaning: "A pod was deleted, its time is over, and it is still there: a drain of its node waits for it.",
			Do: "Remove the finalizer's cause, or bring its kubelet back; if the machine is off for certain: refit drain with --confirm-node-is-off; as a last resort delete it with --grace-period=0 --force."},
		{Name: PodFinalizer, Severity: cluster.Warning, Meaning: "Pods carry finalizers: once evicted they stay until somebody removes those.",
			Do: "Make sure that whoever removes the finalizer is running."},
		{Name: PodStatic, Severity: cluster.Info, Meaning: "Static pods run on a node. They cannot be moved: they stop and come back with it.",
			Do: "Maintain such nodes one at a time if the pods are part of the control plane."},

		{Name: ReplicasOnOneNode, Severity: cluster.Warning, Meaning: "All replicas of a workload are on one node: whatever happens to it happens to all of them.",
			Do: "Spread them: topologySpreadConstraints or pod anti-affinity by kubernetes.io/hostname."},
		{Name: WorkloadWithoutBudget, Severity: cluster.Warning, Meaning: "A workload of several replicas has no budget: all of them may be evicted at the same time.",
			Do: "Add a PodDisruptionBudget, for example with maxUnavailable: 1."},
		{Name: WorkloadSingleReplica, Severity: cluster.Info, Meaning: "A workload of one replica has no budget: it is away while its pod moves.",
			Do: "Run two replicas if that matters."},

		{Name: NoRoom, Severity: cluster.Warning, Meaning: "Replacements of pods would fit on no other node while theirs is away: they wait until it is back.",
			Do: "Add room, or loosen what ties the pods to their nodes."},
		{Name: NoRoomWithinBudget, Severity: cluster.Blocker, Meaning: "More pods of one budget than it ever lets go are on a node and fit on no other: the node cannot be emptied.",
			Do: "Add room, or loosen what ties the pods to their nodes."},

		{Name: WebhookFailClosed, Severity: cluster.Warning, Meaning: "An admission webhook that refuses when it does not answer sees evictions, pods, or nodes: if its own pods are away, so is maintenance.",
			Do: "Run several replicas of it under a budget, on several nodes; or exclude what it need not see; or set failurePolicy: Ignore."},
		{Name: WebhookSelfBlocking, Severity: cluster.Blocker, Meaning: "All ready pods of a fail-closed webhook are on one node, and the webhook sees the creation of its own pods: once that node is emptied it cannot come back.",
			Do: "Exclude its own namespace with a namespaceSelector, and run it on several nodes."},
		{Name: WebhookUnavailable, Severity: cluster.Blocker, Meaning: "A fail-closed webhook that sees evictions, pods or nodes has nobody behind it: what it sees is refused now.",
			Do: "Bring its pods back, or delete the webhook configuration if it is a leftover."},

		{Name: VersionSkew, Severity: cluster.Blocker, Meaning: "Components run in versions that the version-skew policy does not allow together; a component that restarts may not work with the others.",
			Do: "Bring the components within the policy first: https://kubernetes.io/releases/version-skew-policy/"},
		{Name: VersionUnsupported, Severity: cluster.Warning, Meaning: "A component is of a minor version that gets no fixes any more.",
			Do: "Upgrade, one minor at a time."},
		{Name: VersionUnknown, Severity: cluster.Info, Meaning: "The version of a component could not be told, and was not held against the others.",
			Do: "Compare it by hand with the policy: https://kubernetes.io/releases/version-skew-policy/"},

		{Name: ControlPlaneSingle, Severity: cluster.Warning, Meaning: "One node runs the only API server: while it is in maintenance nothing else can be done.",
			Do: "Maintain it alone: last, or in an upgrade of Kubernetes first; consider three control-plane nodes."},
		{Name: ControlPlaneHosted, Severity: cluster.Info, Meaning: "No control plane is to be seen in the cluster: somebody else runs it, or it does not run as static pods. Its versions are known from the API server's answer only.",
			Do: "Ask the provider about its maintenance."},

		{Name: cluster.CodeUnread, Severity: cluster.Warning, Meaning: "Objects may not be read, so that what depends on them was not checked.",
			Do: "Allow this user get, list and watch of the resource."},
		{Name: cluster.CodeTorn, Severity: cluster.Info, Meaning: "Objects were listed at different moments, because the API server could not list all of them as of the same one.",
			Do: "Run it again if something looks odd."},
	}
}

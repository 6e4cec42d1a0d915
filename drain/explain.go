// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// overdueSlack is what a kubelet gets, after the grace period is over, to remove
// the pod from the API.
const overdueSlack = 5 * time.Second

// overdueAt is when a terminating pod should be gone.
func overdueAt(pod *corev1.Pod) time.Time { return pod.DeletionTimestamp.Add(overdueSlack) }

// retell is the least time between two accounts of the same cause: the numbers
// of a budget that many pods wait for change with every one of them.
const retell = time.Second

// explainUnclear tells of each pod about which something changed why it stays,
// once for each change of that.
func (d *Drainer) explainUnclear() {
	for _, g := range d.gates {
		if g.dirty {
			g.explained = nil
			for _, p := range g.waiting {
				d.unclear[p] = true
			}
			g.dirty = false
		}
	}
	pods := slices.Collect(maps.Keys(d.unclear))
	slices.SortFunc(pods, comparePods)
	clear(d.unclear)
	now := d.clock.Now()
	for _, p := range pods {
		if p.node.ended {
			continue // an alarm for a pod that is nobody's concern any more
		}
		if p.atGate() { // whose explanation looks at every pod of the budget: only if it is told, then
			g := d.gate(p.budgets[0])
			if !g.shut() {
				continue
			}
			if next := p.toldAt.Add(retell); p.told != nil && p.told.Cause == g.cause() && now.Before(next) {
				d.tellLater(p, next)
				continue
			}
		}
		b, worth := d.explain(p)
		if !worth || p.told != nil && reflect.DeepEqual(*p.told, b) {
			continue
		}
		if next := p.toldAt.Add(retell); p.told != nil && p.told.Cause == b.Cause && now.Before(next) {
			d.tellLater(p, next)
			continue
		}
		p.told, p.toldAt = &b, now
		d.tell(event.Event{Type: event.PodBlocked, Node: p.node.name, Pod: &p.name, Blocker: &b})
	}
}

func (d *Drainer) tellLater(p *podDrain, at time.Time) {
	if p.retelling {
		return
	}
	p.retelling = true
	d.alarms.set(at, func() {
		p.retelling = false
		d.unclear[p] = true
	})
}

// remaining explains every pod that is still there, or whose volume is.
func (d *Drainer) remaining(n *nodeDrain) []event.Remaining {
	var rest []event.Remaining
	for _, p := range n.inOrder() {
		b, _ := d.explain(p)
		if b.Cause == "" {
			continue
		}
		rest = append(rest, event.Remaining{Node: n.name, Pod: p.name, Blocker: b})
	}
	return rest
}

// explain says why a pod is still there, and whether that is worth telling while
// the drain goes on. The cause is empty if the pod is gone with all that it had.
func (d *Drainer) explain(p *podDrain) (b event.Blocker, worth bool) {
	stage := p.stage
	if p.atGate() {
		stage = gated
	}
	switch stage {
	case held:
		return event.Blocker{Cause: event.CauseQueued, Message: "has a critical priority and goes after the other pods of its node"}, false
	case queued:
		return event.Blocker{Cause: event.CauseQueued, Message: "has not been asked for yet"}, false
	case asking:
		return event.Blocker{Cause: event.CauseQueued, Message: "is being asked for"}, false
	case gated:
		g := d.gate(p.budgets[0])
		if g.explained == nil {
			b := d.explainGate(g)
			g.explained = &b
		}
		return *g.explained, g.shut()
	case mustering:
		return d.explainQuorum(p.pod)
	case stuck:
		return d.explainTwo(p), true
	case resting:
		return explainRefusal(p.refusal), p.refusal.verdict != throttled
	case leaving:
		return d.explainLeaving(p)
	case barred:
		return event.Blocker{Cause: event.CauseRefused, Message: "came to the node during the drain, and refit cannot delete " + p.barredBy}, true
	}
	var attached []string
	for pv, user := range p.node.volumes {
		if user == p {
			attached = append(attached, pv)
		}
	}
	if len(attached) == 0 {
		return event.Blocker{}, false
	}
	slices.Sort(attached)
	return event.Blocker{
		Cause:   event.CauseVolume,
		Message: "still attached to the node: volume " + strings.Join(attached, ", "),
		Hint:    "the attach-detach controller and the volume's CSI driver detach it: look at `kubectl get volumeattachments`",
	}, true
}

// atGate tells whether a pod waits for its budget. A question that only makes sure of
// what the budget says is part of that.
func (p *podDrain) atGate() bool {
	return p.stage == gated || p.probing && len(p.budgets) > 0 && (p.stage == queued || p.stage == asking)
}

// explainGate explains a budget in the way of the pods that wait for it.
func (d *Drainer) explainGate(g *gate) event.Blocker {
	if g.pdb == nil {
		return event.Blocker{Cause: event.CauseQueued, Message: "has not been asked for yet"}
	}
	pods := d.watcher.PodsOf(g.pdb)
	if why, failed := budget.SyncFailed(g.pdb); failed {
		return budget.SyncFailure(g.pdb, pods, why)
	}
	info := budget.Explain(g.pdb, pods)
	b := event.Blocker{Cause: event.CauseBudget, Budgets: []event.Budget{info}}
	if !g.observed() {
		b.Cause = event.CauseBudgetUnobserved
		b.Message = fmt.Sprintf("budget %s was changed and not looked at since by the disruption controller", g.key)
		b.Hint = "if this does not change within seconds, look at kube-controller-manager"
		return b
	}
	b.Message = budgetMessage(info)
	if g.closed() && info.DisruptionsAllowed > 0 {
		b.Message += "; " + g.refusal.message
	}
	if b, g.homeless = blameRoom(b, pods); g.homeless {
		return b
	}
	if info.ExpectedPods > 0 && info.DesiredHealthy >= info.ExpectedPods {
		b.Hint = "this budget never lets a pod go: raise maxUnavailable or lower minAvailable, or run more replicas"
	}
	return b
}

// fewNames is how many pods a sentence names; all of them are in the Budget.
const fewNames = 5

func budgetMessage(b event.Budget) string {
	text := fmt.Sprintf("budget %s/%s allows %d disruptions: %d healthy of %d expected pods, %d must stay healthy",
		b.Namespace, b.Name, b.DisruptionsAllowed, b.CurrentHealthy, b.ExpectedPods, b.DesiredHealthy)
	if len(b.Unready) > 0 {
		text += "; not ready: " + strings.Join(b.Unready[:min(len(b.Unready), fewNames)], ", ")
	}
	if more := len(b.Unready) - fewNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// blameRoom changes an explanation if one of pods is in the way because it fits on no node.
func blameRoom(b event.Blocker, pods []*corev1.Pod) (_ event.Blocker, homeless bool) {
	for _, pod := range pods {
		if reason, homeless := unschedulable(pod); homeless {
			b.Cause = event.CauseNoRoom
			b.Message += fmt.Sprintf("; pod %s fits on no node: %s", nameOf(pod), reason)
			b.Hint = "make room: uncordon or add nodes, or change what the pod asks for"
			return b, true
		}
	}
	return b, false
}

// unschedulable tells whether the scheduler found no place for a pod, and its words.
func unschedulable(pod *corev1.Pod) (reason string, homeless bool) {
	if pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil {
		return "", false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return c.Message, true
		}
	}
	return "", false
}

func (d *Drainer) explainTwo(p *podDrain) event.Blocker {
	b := event.Blocker{
		Cause: event.CauseTwoBudgets,
		Hint:  "change the selectors so that one budget matches the pod, or delete the others",
	}
	var names []string
	for _, key := range p.budgets {
		names = append(names, key.String())
		if pdb := d.watcher.Budget(key.Namespace, key.Name); pdb != nil {
			b.Budgets = append(b.Budgets, budget.Explain(pdb, d.watcher.PodsOf(pdb)))
		}
	}
	b.Message = fmt.Sprintf("has %d budgets (%s), which the Eviction API refuses", len(names), strings.Join(names, ", "))
	return b
}

// explainRefusal explains a pod that is asked for again after a while.
func explainRefusal(a answer) event.Blocker {
	switch a.verdict {
	case throttled:
		return event.Blocker{Cause: event.CauseThrottled, Message: "the API server has too much to do: " + a.message}
	case namespaceTerminating:
		return event.Blocker{Cause: event.CauseTerminating, Message: "its namespace is being deleted: " + a.message}
	case budgetSaysNo:
		return event.Blocker{Cause: event.CauseBudget, Message: a.message}
	case budgetUnobserved:
		return event.Blocker{Cause: event.CauseBudgetUnobserved, Message: a.message}
	case twoBudgets:
		return event.Blocker{Cause: event.CauseTwoBudgets, Message: a.message}
	case webhookRefused:
		return event.Blocker{
			Cause: event.CauseError, Message: a.message,
			Hint: "the webhook is asked again every now and then; see `kubectl get validatingwebhookconfigurations`",
		}
	}
	return event.Blocker{Cause: event.CauseError, Message: a.message}
}

// explainLeaving explains a pod that is deleted and still there.
func (d *Drainer) explainLeaving(p *podDrain) (event.Blocker, bool) {
	pod := p.pod
	if pod.DeletionTimestamp == nil && p.expelled {
		return event.Blocker{Cause: event.CauseTerminating, Message: "is about to be deleted, because its node is out of service"}, false
	}
	if pod.DeletionTimestamp == nil {
		return event.Blocker{Cause: event.CauseTerminating, Message: "was evicted just now"}, false
	}
	overdue := !d.clock.Now().Before(overdueAt(pod))
	finalizers := slices.DeleteFunc(slices.Clone(pod.Finalizers), func(f string) bool { return f == batchv1.JobTrackingFinalizer })
	switch {
	case len(finalizers) == 0 && len(pod.Finalizers) > 0 && budget.Finished(pod):
		// Until a pod has ended, its Job's finalizer is not what is waited for; then the
		// controller takes it off by itself (pkg/controller/job/job_controller.go).
		return event.Blocker{
			Cause:   event.CauseFinalizer,
			Message: "has ended, and waits for the Job controller to count it and to take its finalizer off",
			Hint:    "if this takes longer than seconds, look at kube-controller-manager",
		}, false
	case len(finalizers) > 0 && (overdue || stopped(pod)):
		return event.Blocker{
			Cause:   event.CauseFinalizer,
			Message: "is deleted and waits for its finalizers: " + strings.Join(finalizers, ", "),
			Hint:    "whoever set them has to remove them; see whether that controller runs",
		}, true
	case p.node.outOfService != nil:
		return event.Blocker{
			Cause:   event.CauseTerminating,
			Message: "is deleted, and is removed without its kubelet, because its node is out of service: that is looked after every 20 s",
			Hint:    "if this takes longer, look at kube-controller-manager: its controller pod-garbage-collector does it",
		}, overdue
	case p.node.lost, overdue && d.kubeletSilent(pod.Spec.NodeName):
		// That the node is lost was told of the node; of each pod it is worth telling when its time is over.
		return event.Blocker{
			Cause:   event.CauseKubelet,
			Message: "is deleted, and the kubelet of node " + pod.Spec.NodeName + " does not answer",
			Hint:    "if the machine is off for certain: refit drain " + pod.Spec.NodeName + " --confirm-node-is-off; or delete the Node",
		}, overdue
	case overdue:
		return event.Blocker{
			Cause:   event.CauseTerminating,
			Message: "should have terminated by " + pod.DeletionTimestamp.UTC().Format(time.RFC3339),
			Hint:    "look at `kubectl describe pod` and at the kubelet's log",
		}, true
	}
	return event.Blocker{
		Cause: event.CauseTerminating, Message: "has until " + pod.DeletionTimestamp.UTC().Format(time.RFC3339) + " to terminate",
	}, false
}

// stopped tells whether nothing of a deleted pod runs any more: its kubelet has
// confirmed the deletion, which sets the grace period to zero.
func stopped(pod *corev1.Pod) bool {
	return budget.Finished(pod) || pod.DeletionGracePeriodSeconds != nil && *pod.DeletionGracePeriodSeconds == 0
}

// kubeletSilent tells whether the node is not Ready.
func (d *Drainer) kubeletSilent(name string) bool {
	node := d.watcher.Node(name)
	return node == nil || !cluster.Ready(node)
}

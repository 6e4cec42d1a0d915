// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/placement"
	"refit.dev/refit/plan"
)

// patience is how long nothing may have changed in a drain that stands still before
// its node gives its turn back. It is three times the longest pause that the
// scheduler makes before it tries a pod again (podMaxBackoffSeconds, 10 s by default).
const patience = 30 * time.Second

// mostRetreats is how often a node gives its turn back in a run. What did not help
// that often does not help: then the drain waits for whoever can, until --drain-timeout.
const mostRetreats = 3

// standstill is a drain that cannot go on by itself: the replacement of a pod that it
// has evicted, or that another one has, fits on no node but the one that is drained, and
// as long as it does not run a budget keeps the pods that are left. It happens when the scheduler
// gave the room that was meant for the replacement to another pod.
type standstill struct {
	waits types.UID   // the replacement
	left  []types.UID // the pods that are still on the node
	why   string      // "" if nothing stands still
}

func (s standstill) same(other standstill) bool {
	return s.why != "" && s.waits == other.waits && slices.Equal(s.left, other.left)
}

// findStandstill judges the drain of a node.
func findStandstill(s *cluster.Snapshot, name string, rules plan.Drain) standstill {
	node := s.Node(name)
	if node == nil {
		return standstill{}
	}
	var found standstill
	var kept []*cluster.Pod
	for _, p := range node.Pods {
		if !rules.Leaves(p) {
			continue
		}
		if p.DeletionTimestamp != nil {
			return standstill{} // it is on its way
		}
		found.left, kept = append(found.left, p.UID), append(kept, p)
	}
	room, free := placement.New(s), uncordoned(node)
	for _, p := range kept {
		for _, k := range keepers(p) {
			for _, q := range k.pods {
				if unplaced(q.Pod) && len(room.Fits(q.Pod, free)) == 0 {
					found.waits = q.UID
					found.why = fmt.Sprintf("pod %s/%s fits on no other node, and as long as it does not run %s keeps pod %s/%s", q.Namespace, q.Name, k.name, p.Namespace, p.Name)
					return found
				}
			}
		}
	}
	return standstill{}
}

// keeper is what does not let a pod go now: not before more of its pods run.
type keeper struct {
	name string
	pods []*cluster.Pod
}

// keepers of a pod are its budgets that allow no disruption, and the quorum set that
// it is a member of.
func keepers(p *cluster.Pod) (list []keeper) {
	for _, b := range p.Budgets {
		if b.Status.DisruptionsAllowed <= 0 {
			list = append(list, keeper{"budget " + b.Name, b.Pods})
		}
	}
	for _, c := range p.Controllers {
		if budget.Quorum(c.Group, c.Kind, c.Desired) {
			list = append(list, keeper{"the quorum of StatefulSet " + c.Name, c.Pods})
		}
	}
	return list
}

// unplaced tells whether the scheduler has found no node for a pod.
func unplaced(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil && !budget.Finished(pod) &&
		slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
		})
}

// uncordoned is the node as it would be without its cordon.
func uncordoned(node *cluster.Node) *cluster.Node {
	free := *node
	free.Node = node.DeepCopy()
	free.Spec.Unschedulable = false
	free.Spec.Taints = slices.DeleteFunc(free.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnschedulable })
	return &free
}

// standstillError ends a drain that would not go on.
type standstillError struct{ why string }

func (s *standstillError) Error() string { return s.why }

// watchForStandstill returns a ctx that ends with a standstillError once the drain of
// the node has stood still for the time of patience, and nothing of this run will
// change that.
func (w *worker) watchForStandstill(ctx context.Context) (context.Context, func()) {
	if w.target.Unschedulable || w.spec.Drain.DisableEviction || w.status.Retreats >= mostRetreats {
		return ctx, func() {} // it stays cordoned anyway, or no budget is asked, or that did not help
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var before standstill
		pause := patience
		for {
			timer := w.clock.NewTimer(pause)
			select {
			case <-timer.C():
			case <-ctx.Done():
				timer.Stop()
				return
			}
			begun := w.clock.Now()
			now := standstill{}
			if !w.othersReturn() {
				now = findStandstill(w.cluster.Snapshot(), w.target.Name, w.spec.drainRules(w.clock.Now))
			}
			if now.same(before) {
				cancel(&standstillError{now.why})
				return
			}
			before, pause = now, max(patience, restAfter(w.clock.Since(begun)))
		}
	}()
	return ctx, func() { cancel(nil); <-ended }
}

// othersReturn tells whether another node of the run will take in pods again without
// the help of this one: its drain is over, and it was not uncordoned yet.
func (w *worker) othersReturn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.engine.status.Nodes {
		if n.Standing == Begun && n.Steps[StepDrain] == Done && n.Steps[StepUncordon] != Done && n.Machine == nil {
			return true
		}
	}
	return false
}

// retreat gives the node's turn back: it is uncordoned, so that its drain's pods find
// their places again, and waits for another turn, after the nodes that did not give theirs
// back. A run that is killed meanwhile cordons and drains it again.
func (w *worker) retreat(ctx context.Context, why string) error {
	return w.step(ctx, StepRetreat, Record{Reason: why}, func() (Record, error) {
		w.emit(event.Event{
			Type: event.Warning, Node: w.target.Name, Message: "its drain stood still, so it gives its turn back: " + why,
			Hint: "its turn comes again; nothing has to be done",
		})
		if err := w.release(ctx); err != nil {
			return Record{}, err
		}
		since := w.tally.mark(w.status.Workloads)
		err := w.lookout.await(ctx, w.spec.Timeouts.Recover.Duration, workloadTopics(w.status.Workloads), func() (bool, error) {
			return len(missing(w.cluster.Workload, w.status.Workloads, since, w.tally.mark(w.status.Workloads))) == 0, nil
		})
		if errors.Is(err, errTimeout) {
			err = nil // the next decision is made with what is there then
		}
		return Record{Evicted: w.left}, err
	})
}

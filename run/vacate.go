// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// A node is emptied here: it is cordoned and drained, and looked at once more before
// its machine is touched.

package run

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// whyNot says why the node may not be cordoned now, or "". One that was begun is
// carried on with even if it is lost: its drain has a time limit.
func (w *worker) whyNot(node *corev1.Node) string {
	if held := whyHeld(node, w.target, w.spec.Run); held != "" || w.status.Standing != Waiting {
		return held
	}
	leave := 0
	if around := w.cluster.Around(w.target.Name); around != nil {
		rules := w.spec.drainRules(w.clock.Now)
		for _, p := range around.Pods {
			if rules.Leaves(p) {
				leave++
			}
		}
	}
	return w.spec.whyLost(node, leave)
}

// admit looks whether the node may be taken up, or is still to be worked on.
func (w *worker) admit(ctx context.Context) (*corev1.Node, error) {
	node, err := w.recheck(ctx)
	if err != nil {
		return nil, err
	}
	held := w.whyNot(node)
	if held == "" {
		return node, nil
	}
	if w.status.Standing != Waiting {
		return nil, &failure{reason: held, hint: "find out who did, and resume the run when the node is free"}
	}
	// Let the caches see it too, so that the node is not started again.
	_ = w.lookout.await(ctx, callLimit, []topic{nodeTopic(w.target.Name)}, func() (bool, error) {
		seen, err := w.seen()
		return err == nil && w.whyNot(seen) != "", err
	})
	w.picture.note(cluster.Change{Kind: cluster.KindNode, Name: w.target.Name})
	return nil, errPutAside
}

func (w *worker) cordon(ctx context.Context) error {
	node, err := w.admit(ctx)
	if err != nil {
		return err
	}
	return w.step(ctx, StepCordon, Record{}, func() (Record, error) {
		changed := false
		err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
			changed, err = w.cluster.Cordon(ctx, node, w.spec.Run)
			return err
		})
		if changed {
			w.emit(event.Event{Type: event.NodeCordoned, Node: w.target.Name})
			w.note(ctx, reasonCordoned, fmt.Sprintf("refit run %s cordoned the node", w.spec.Run))
		}
		return Record{}, w.about(err)
	})
}

// vacate empties the node: first of the pods that the drain must not ask for. If that
// comes to a standstill the node gives its turn back.
func (w *worker) vacate(ctx context.Context) error {
	for {
		if err := w.surge(ctx); err != nil {
			return err
		}
		err := w.drain(ctx)
		if still, ok := errors.AsType[*standstillError](err); ok {
			if err := w.retreat(ctx, still.why); err != nil {
				return err
			}
			w.phase(event.PhasePending, "")
			return errPutAside
		}
		if !errors.Is(err, errLateSingleton) {
			return err
		}
	}
}

func (w *worker) drain(ctx context.Context) error {
	node, err := w.around()
	if err != nil {
		return err
	}
	w.tally.know(node)
	workloads := others(w.status.Workloads, workloadsOn(node)) // those of the first attempt count
	w.tally.begin(workloads)
	return w.step(ctx, StepDrain, Record{Workloads: workloads}, func() (Record, error) {
		limited, cancel := context.WithTimeoutCause(ctx, w.spec.Timeouts.Drain.Duration, errTimeout)
		defer cancel()
		limited, unwatch := w.watchForSingletons(limited)
		defer unwatch()
		limited, leave := w.watchForStandstill(limited)
		defer leave()
		evicted, remaining, err := w.empty(limited)
		w.left += evicted
		w.evicted = w.tally.mark(w.status.Workloads)
		switch {
		case err == nil:
			w.note(ctx, reasonDrained, fmt.Sprintf("refit run %s drained the node", w.spec.Run))
		case errors.Is(context.Cause(limited), errTimeout):
			err = w.timeout("pods are still there", describe(remaining), w.spec.Timeouts.Drain.Duration,
				"see what they wait for, or give them longer with --drain-timeout")
		}
		return Record{Evicted: w.left}, w.about(err)
	})
}

// empty drains the node until the API server, too, knows of no pod that has to leave.
func (w *worker) empty(ctx context.Context) (evicted int, remaining []event.Remaining, err error) {
	for {
		drained, err := w.cluster.Drain(ctx, w.target.Name)
		if _, still := errors.AsType[*standstillError](err); still || errors.Is(err, errLateSingleton) {
			w.count(drained, nil) // the pods that remain are drained later
		} else {
			w.count(drained, err)
		}
		evicted += drained.Evicted
		if err != nil {
			return evicted, drained.Remaining, err
		}
		left := 0
		err = retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
			selection, err := w.cluster.Leaving(ctx, w.target.Name)
			left = len(selection.Leave) + len(selection.Refused)
			return err
		})
		if err != nil || left == 0 {
			return evicted, nil, err
		}
	}
}

// ownCordon looks at the node once more before the machine itself is touched:
// with pods that came back to it, that would be an outage.
func (w *worker) ownCordon(ctx context.Context) (*corev1.Node, error) {
	node, err := w.recheck(ctx)
	if err != nil {
		return nil, err
	}
	mark, marked := cluster.MarkOf(node)
	if !node.Spec.Unschedulable || !w.target.Unschedulable && (!marked || mark.Run != w.spec.Run) {
		return nil, &failure{
			reason: "somebody uncordoned the node while it was being maintained",
			hint:   "find out who did; refit runs resume " + w.spec.Run + " cordons and drains it again",
		}
	}
	return node, nil
}

// count adds a drain to the run's totals.
func (w *worker) count(d Drained, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Evicted += d.Evicted
	w.counts.Gone += d.Gone
	w.counts.Skipped += d.Skipped
	if err != nil {
		w.counts.Blocked += len(d.Remaining)
		w.remaining = append(w.remaining, d.Remaining...)
	}
}

func describe(remaining []event.Remaining) string {
	texts := make([]string, len(remaining))
	for i, r := range remaining {
		texts[i] = r.Pod.String() + ": " + r.Blocker.Message
	}
	return few(texts)
}

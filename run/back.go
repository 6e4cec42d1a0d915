// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// awaitReady waits until the node is Ready, and in the way that ready asks for. That
// returns what is missing, in words, or "".
func (w *worker) awaitReady(ctx context.Context, ready func(*corev1.Node) string) error {
	return w.step(ctx, StepReady, Record{}, func() (Record, error) {
		last := "it is Ready"
		err := w.lookout.await(ctx, w.spec.Timeouts.Ready.Duration, []topic{nodeTopic(w.target.Name)}, func() (bool, error) {
			node, err := w.seen()
			if err != nil {
				return false, err
			}
			if last = ready(node); last != "" {
				return false, nil
			}
			last = readyMessage(node)
			return cluster.Ready(node), nil
		})
		if errors.Is(err, errTimeout) {
			err = w.timeout("the node is not Ready", last, w.spec.Timeouts.Ready.Duration,
				w.readyHint())
		}
		return Record{}, err
	})
}

// readyHint is what to do about a node that does not get Ready.
func (w *worker) readyHint() string {
	const advice = "look at the machine and its kubelet; once it is Ready, resume the run"
	if w.stage == nil || w.spec.Upgrade == nil || w.spec.Upgrade.Units == nil {
		return advice
	}
	return advice + "; the kubelet of before lies beside the new one, with .before-" + w.stage.Version + " behind its name (mv -T it back, systemctl restart kubelet.service)"
}

// seen returns the node as the watches have brought it.
func (w *worker) seen() (*corev1.Node, error) {
	node := w.cluster.Seen(w.target.Name)
	return node, w.recognise(node)
}

// around is seen with the node's pods and their controllers.
func (w *worker) around() (*cluster.Node, error) {
	node := w.cluster.Around(w.target.Name)
	if node == nil {
		return nil, w.recognise(nil)
	}
	return node, w.recognise(node.Node)
}

// recognise tells that the worker's node is gone: node, which has its name, is nil or
// another one.
func (w *worker) recognise(node *corev1.Node) error {
	switch {
	case node == nil:
		return &gone{reasonDeleted}
	case node.UID != w.target.UID:
		return &gone{reasonReplaced}
	}
	return nil
}

func readyMessage(node *corev1.Node) string {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return fmt.Sprintf("Ready is %s: %s", c.Status, c.Message)
		}
	}
	return "it reports no condition Ready"
}

func (w *worker) uncordon(ctx context.Context) error {
	intent := Record{}
	if w.target.Unschedulable {
		intent.Reason = "it stays cordoned, as it was before the run"
	}
	return w.step(ctx, StepUncordon, intent, func() (Record, error) { return Record{}, w.release(ctx) })
}

// release takes the run's cordon off the node.
func (w *worker) release(ctx context.Context) error {
	changed := false
	err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		changed, err = w.cluster.Uncordon(ctx, w.target.Name, w.spec.Run)
		return err
	})
	if changed {
		w.emit(event.Event{Type: event.NodeUncordoned, Node: w.target.Name})
		w.note(ctx, reasonUncordoned, fmt.Sprintf("refit run %s uncordoned the node", w.spec.Run))
	}
	if err == nil && !changed {
		w.tellCordoned(ctx)
	}
	return w.about(err)
}

// tellCordoned says so if the node stays cordoned although it was not before the
// run: its mark is gone, or is another one, so the cordon is somebody else's now.
func (w *worker) tellCordoned(ctx context.Context) {
	if w.target.Unschedulable {
		return
	}
	node, err := w.cluster.Node(ctx, w.target.Name)
	if err != nil || node == nil || node.UID != w.target.UID || !node.Spec.Unschedulable {
		return
	}
	w.emit(event.Event{
		Type: event.Warning, Node: w.target.Name,
		Message: "it stays cordoned: somebody took the run's mark off it, or put another one in its place",
		Hint:    "find out who did; refit uncordon " + w.target.Name + " brings it back",
	})
}

// awaitRecovery waits until what was evicted from the node runs again, here or
// elsewhere: only then does the node's slot get free.
func (w *worker) awaitRecovery(ctx context.Context) error {
	return w.step(ctx, StepRecover, Record{}, func() (Record, error) {
		var still []string
		err := w.lookout.await(ctx, w.spec.Timeouts.Recover.Duration, workloadTopics(w.status.Workloads), func() (bool, error) {
			still = missing(w.cluster.Workload, w.status.Workloads, w.evicted, w.tally.mark(w.status.Workloads))
			return len(still) == 0, nil
		})
		if errors.Is(err, errTimeout) {
			err = w.timeout("evicted workloads are not back", few(still), w.spec.Timeouts.Recover.Duration,
				"the node itself is done and uncordoned; see why their pods are not Ready, then resume the run")
		}
		return Record{}, err
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// ReasonDryRun is the reason of PodEvicted events that did not happen.
const ReasonDryRun = "dry-run"

// rehearse is Drain without consequences. Its result counts the pods that would
// be evicted; what the API server refuses now remains, with the reason. Pods of
// one budget are asked about one by one, so that each may be evicted but not all
// of them at the same time: the real drain takes care of that.
func (d *Drainer) rehearse(ctx context.Context, node string) (Result, error) {
	started := d.clock.Now()
	result := Result{Node: node}
	if d.watcher.Node(node) == nil {
		return result, fmt.Errorf("drain node %s: %w", node, ErrNodeDeleted)
	}
	selection := d.Select(node)
	if err := selection.Err(); err != nil {
		return result, err
	}
	d.tell(event.Event{Type: event.NodePhase, Node: node, Phase: event.PhaseDraining, Pods: len(selection.Leave), Reason: ReasonDryRun})
	for _, w := range selection.Warnings {
		d.tell(event.Event{Type: event.Warning, Node: node, Reason: event.ReasonAllowed, Message: w})
	}
	for _, s := range selection.Skip {
		name := nameOf(s.Pod)
		d.tell(event.Event{Type: event.PodSkipped, Node: node, Pod: &name, Reason: s.Reason, Message: s.Message})
		if !s.Removed {
			result.Skipped++
		}
	}

	refusals := make([]*event.Blocker, len(selection.Leave))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(firstLimit)
	var mu sync.Mutex
	for i, pod := range selection.Leave {
		group.Go(func() error {
			blocker, err := d.ask(groupCtx, pod)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			name := nameOf(pod)
			if blocker == nil && d.leavesAlready(pod) {
				return nil
			}
			if blocker == nil {
				d.tell(event.Event{Type: event.PodEvicted, Node: node, Pod: &name, Reason: ReasonDryRun})
			} else {
				d.tell(event.Event{Type: event.PodBlocked, Node: node, Pod: &name, Reason: ReasonDryRun, Blocker: blocker})
			}
			refusals[i] = blocker
			return nil
		})
	}
	err := group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = &UnfinishedError{Node: node, Cause: cause}
	}
	if err == nil {
		for i, pod := range selection.Leave {
			if refusals[i] == nil && d.leavesAlready(pod) {
				continue
			}
			if refusals[i] == nil {
				result.Evicted++
				result.EvictedPods = append(result.EvictedPods, EvictedPod{Pod: nameOf(pod), Controllers: d.watcher.Controllers(pod)})
			} else {
				result.Remaining = append(result.Remaining, event.Remaining{Node: node, Pod: nameOf(pod), Blocker: *refusals[i]})
			}
		}
		slices.SortFunc(result.Remaining, compareRemaining)
	}
	result.Blocked, result.Elapsed = len(result.Remaining), d.clock.Since(started)
	return result, err
}

// ask asks the API server whether it would evict a pod; nil means yes, or that it would
// be deleted without being evicted, because its node is out of service. The error
// is one that concerns more than this pod.
func (d *Drainer) ask(ctx context.Context, pod *corev1.Pod) (*event.Blocker, error) {
	if d.options.DryRun == DryRunClient || d.leavesAlready(pod) {
		return nil, nil
	}
	if n := d.watcher.Node(pod.Spec.NodeName); n != nil {
		if removed, _ := d.options.removes(n, pod); removed {
			return nil, nil // the taint asks nobody
		}
	}
	for {
		err := d.evictor.Evict(ctx, pod, EvictOptions{GracePeriod: d.options.GracePeriod, DryRun: true})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a := classify(err)
		if a.departs() {
			if b, waits := d.explainQuorum(pod); waits {
				return &b, nil
			}
			return nil, nil
		}
		switch a.verdict {
		case forbidden:
			return nil, mayNot(nameOf(pod), pod.Spec.NodeName, err)
		case throttled:
			select {
			case <-d.clock.After(max(a.retryAfter, defaultPause)):
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		p := &podDrain{name: nameOf(pod), pod: pod, budgets: d.budgetsOf(pod)}
		b := d.explainAnswer(p, a)
		return &b, nil
	}
}

// leavesAlready tells whether somebody else has had the pod deleted: a drain waits for
// it, and does not count it as evicted.
func (d *Drainer) leavesAlready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && !d.tooPatient(pod)
}

// explainAnswer explains a refusal with what the cache knows of the pod's budgets.
func (d *Drainer) explainAnswer(p *podDrain, a answer) event.Blocker {
	switch {
	case a.verdict == twoBudgets && len(p.budgets) > 1:
		return d.explainTwo(p)
	case (a.verdict == budgetSaysNo || a.verdict == budgetUnobserved) && len(p.budgets) == 1:
		g := newGate(p.budgets[0])
		if g.know(d.watcher.Budget(g.key.Namespace, g.key.Name)); g.pdb != nil {
			g.close(g.version(), a)
			return d.explainGate(g)
		}
	}
	return explainRefusal(a)
}

// mayNot is the error of a user who may not evict.
func mayNot(pod event.Pod, node string, err error) error {
	return hint.Wrap(fmt.Errorf("evict pod %s from node %s: %w", pod, node, err),
		"allow this user to create pods/eviction (to delete pods, with --disable-eviction)")
}

func compareRemaining(a, b event.Remaining) int {
	return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod.Namespace, b.Pod.Namespace), cmp.Compare(a.Pod.Name, b.Pod.Name))
}

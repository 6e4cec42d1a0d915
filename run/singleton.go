// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/placement"
)

// singleton returns the Deployment of one replica that a pod belongs to; nil if
// there is none.
func singleton(pod *cluster.Pod) *cluster.Workload {
	for _, w := range pod.Controllers {
		if w.Rollout != nil && w.Desired == 1 {
			return w
		}
	}
	return nil
}

// whyNoSurge says why a rollout restart of a singleton would not start the
// replacement of its pod before that ends; "" if it would.
func whyNoSurge(w *cluster.Workload, pod *cluster.Pod) string {
	if why := badRollout(w.Rollout); why != "" {
		return why
	}
	for _, v := range pod.Volumes {
		shared := func(m corev1.PersistentVolumeAccessMode) bool {
			return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
		}
		if !slices.ContainsFunc(v.Spec.AccessModes, shared) {
			return "volume " + v.Name + " can be used on one node at a time"
		}
	}
	return ""
}

// badRollout says what is wrong with the way in which a singleton is rolled out; "" if nothing is.
func badRollout(r *cluster.Rollout) string {
	switch {
	case r.Paused:
		return "it is paused"
	case r.Recreate:
		return "its strategy is Recreate, which ends the old pod first"
	case r.MaxUnavailable > 0:
		return fmt.Sprintf("its strategy lets the only pod be away (maxSurge %d, maxUnavailable %d)", r.MaxSurge, r.MaxUnavailable)
	}
	return ""
}

// neverLeave sorts out, of the pods that are to leave a node, those that the
// Eviction API will never let go, or not before somebody has mended their budget:
// stuck are those that nothing can be done about now, with what the operator can
// do; surges are those whose replacement is started first, if that is what was asked for.
func neverLeave(node string, leave []*cluster.Pod, surgeSingletons bool) (stuck []event.Remaining, surges []*cluster.Pod) {
	refuse := func(pod *cluster.Pod, when string, b event.Blocker) {
		b.Message = when + ": " + b.Message
		stuck = append(stuck, event.Remaining{
			Node: node, Blocker: b,
			Pod: event.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)},
		})
	}
	for _, pod := range leave {
		budgets := budget.Never(pod)
		if budgets == nil {
			if b, stays := budget.Uncomputable(pod); stays {
				refuse(pod, "cannot be evicted", b)
			}
			continue
		}
		b := budget.Refusal(budgets)
		w := singleton(pod)
		why := ""
		if w != nil {
			why = whyNoSurge(w, pod)
		}
		switch {
		case w != nil && why == "" && surgeSingletons:
			surges = append(surges, pod)
			continue
		case w != nil && why == "":
			b.Hint = "give --surge-singletons, which starts its replacement first"
		case w != nil:
			b.Message += fmt.Sprintf("; Deployment %s/%s cannot start its replacement first: %s", w.Namespace, w.Name, why)
			b.Hint = "let " + wider(budgets)
			if badRollout(w.Rollout) != "" {
				b.Hint += fmt.Sprintf(", or mend the rollout (kubectl edit deployment -n %s %s) and give --surge-singletons", w.Namespace, w.Name)
			}
		case b.Cause == event.CauseTwoBudgets:
			b.Hint = "change the selectors so that one budget matches the pod"
		case b.Hint == "":
			b.Hint = "run more replicas, or let " + wider(budgets)
		}
		refuse(pod, "can never be evicted", b)
	}
	return stuck, surges
}

func wider(budgets []*cluster.Budget) string {
	b := budgets[0]
	if len(budgets) > 1 {
		return fmt.Sprintf("only one budget match the pod: kubectl edit pdb -n %s %s", b.Namespace, b.Name)
	}
	return fmt.Sprintf("its budget allow one: kubectl edit pdb -n %s %s (maxUnavailable: 1)", b.Namespace, b.Name)
}

// mostStuck is how many pods an error lists, one a line.
const mostStuck = 20

// stuckText lists pods that neverLeave found to be stuck, a line for each.
func stuckText(stuck []event.Remaining) string {
	var lines []string
	for _, r := range stuck[:min(len(stuck), mostStuck)] {
		lines = append(lines, fmt.Sprintf("node %s: pod %s %s", r.Node, r.Pod, r.Blocker.Message))
	}
	if more := len(stuck) - mostStuck; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more pods", more))
	}
	return strings.Join(lines, "\n")
}

// stuckHint says what can be done about them; total is how many nodes the
// cluster has.
func stuckHint(stuck []event.Remaining, spec *Spec, total int) string {
	var ways, blocked []string
	for _, r := range stuck {
		if !slices.Contains(ways, r.Blocker.Hint) {
			ways = append(ways, r.Blocker.Hint)
		}
		if !slices.Contains(blocked, r.Node) {
			blocked = append(blocked, r.Node)
		}
	}
	const few = 3
	if more := len(ways) - few; more > 0 {
		ways = append(ways[:few], fmt.Sprintf("%d more likewise", more))
	}
	return strings.Join(ways, "; ") + leaveOut(blocked, spec, total) + "; nothing was changed"
}

// leaveOut says how to ask for the same without some nodes; "" if they are all there are.
func leaveOut(blocked []string, spec *Spec, total int) string {
	var others []string
	for _, t := range spec.Nodes {
		if !slices.Contains(blocked, t.Name) {
			others = append(others, t.Name)
		}
	}
	which := phrase.Plural(len(blocked), "that node", "those nodes")
	switch {
	case len(others) == 0:
		return ""
	case len(others) <= 5:
		return fmt.Sprintf("; or leave %s out: refit maintain %s", which, strings.Join(others, " "))
	case len(spec.Nodes) == total:
		return fmt.Sprintf("; or leave %s out: refit maintain $(kubectl get nodes -o name | grep -vxE 'node/(%s)')", which, strings.Join(blocked, "|"))
	}
	return fmt.Sprintf("; or leave %s out: give the names of the others", which)
}

// singletons returns those of the pods that are to leave a node that will never
// be let go, and keeps those that are to be surged.
func (p *Prepared) singletons(s *cluster.Snapshot, node string, leave []*corev1.Pod) []event.Remaining {
	if p.Spec.Drain.DisableEviction {
		return nil // no budget is asked
	}
	var pods []*cluster.Pod
	for _, x := range leave {
		if pod := s.PodByUID(x.UID); pod != nil {
			pods = append(pods, pod)
		}
	}
	stuck, surges := neverLeave(node, pods, p.Spec.SurgeSingletons)
	p.Surges = append(p.Surges, surges...)
	return stuck
}

// rehearseSurges has the API server try the restarts, and looks for room.
func (p *Prepared) rehearseSurges(ctx context.Context, s *cluster.Snapshot) error {
	if len(p.Surges) == 0 {
		return nil
	}
	room := placement.New(s)
	for _, pod := range p.Surges {
		d := singleton(pod)
		surge := Surge{Namespace: d.Namespace, Name: d.Name, UID: d.UID, RestartedAt: restartTime(p.operator.Clock.Now(), d.Rollout.RestartedAt)}
		if err := restart(ctx, p.operator.Client, surge, true); err != nil {
			return refusedSurge(ctx, pod.Spec.NodeName, err)
		}
		if _, why := room.Anywhere(pod.Pod, []string{pod.Spec.NodeName}); len(why) > 0 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("node %s: the replacement of pod %s/%s fits on no other node at present: %s",
				pod.Spec.NodeName, pod.Namespace, pod.Name, few(why)))
		}
	}
	return nil
}

// refusedSurge is the error of a restart that was tried: a *BlockedError, unless
// nobody has said that it would not work.
func refusedSurge(ctx context.Context, node string, err error) error {
	tried := fmt.Errorf("node %s: try to %w", node, err)
	if ctx.Err() != nil || transient(err) {
		return tried
	}
	advice := "see why the API server does not take it"
	if failed, ok := errors.AsType[*failure](err); ok {
		tried, advice = fmt.Errorf("node %s: %w", node, err), failed.hint
	}
	if apierrors.IsForbidden(err) {
		advice = "--surge-singletons needs the permission to patch deployments"
	}
	return hint.Wrap(&BlockedError{tried}, "%s; nothing was changed", advice)
}

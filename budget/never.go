// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// Steady returns the members that b has when every controller has as many pods
// as it is to have: not more, as in the middle of a rollout. known is false if
// the scale of a controller is not; then the numbers say nothing.
func Steady(b *cluster.Budget) (m Members, known bool) {
	known = true
	seen := map[*cluster.Workload]bool{}
	for _, p := range b.Pods {
		if Finished(p.Pod) {
			continue
		}
		w := Scales(p)
		switch {
		case w == nil:
			m.Pods++ // nobody makes another one
		case seen[w]:
		case w.Desired < 0:
			known = false
		default:
			m.Pods += int(w.Desired)
			m.Scale += int(w.Desired)
		}
		seen[w] = true
	}
	return m, known
}

// AtBest returns how many pods pdb lets go at once when all is well; m and known are
// what Steady says of it. If the scale of a controller is not known it is as many as
// the server lets go now, and one at the least. A budget that cannot be computed
// lets none go.
func AtBest(pdb *policyv1.PodDisruptionBudget, m Members, known bool) int {
	if !known {
		return max(1, int(pdb.Status.DisruptionsAllowed)) // the server knows
	}
	demand, err := Of(pdb, m)
	if err != nil {
		return 0
	}
	return demand.AtBest(m)
}

// Scales is the controller whose replicas count for p: a ReplicaSet's Deployment
// stands for it, any other controller for itself (finders in disruption.go). It is
// nil for a pod without one.
func Scales(p *cluster.Pod) *cluster.Workload {
	if len(p.Controllers) == 0 {
		return nil
	}
	w := p.Controllers[0]
	if w.Kind == "ReplicaSet" && w.Controller != nil && w.Controller.Kind == "Deployment" && w.Controller.Group == appsv1.GroupName {
		return w.Controller
	}
	return w
}

// Never tells whether the Eviction API will never let pod go, however long one
// waits, and returns the budgets because of which: one that at best lets none of
// its pods go, or more than one. What is only so at the moment is not never: a
// budget that others use up, a pod that is still starting. It is nil for a pod
// that may go, now or later.
func Never(pod *cluster.Pod) []*cluster.Budget {
	if Ignored(pod.Pod) {
		return nil
	}
	return NeverOnceRunning(pod)
}

// NeverOnceRunning is Never for a pod as it will be once it runs: no budget is
// asked for one that is pending.
func NeverOnceRunning(pod *cluster.Pod) []*cluster.Budget {
	var only *policyv1.PodDisruptionBudget
	atBest := 0
	if len(pod.Budgets) == 1 {
		m, known := Steady(pod.Budgets[0])
		only = pod.Budgets[0].PodDisruptionBudget
		atBest = AtBest(only, m, known)
	}
	if !NeverGoes(pod.Pod, len(pod.Budgets), only, atBest) {
		return nil
	}
	return pod.Budgets
}

// NeverGoes is NeverOnceRunning for who knows how many budgets select pod, and of a
// single one how many pods it lets go at best.
func NeverGoes(pod *corev1.Pod, budgets int, only *policyv1.PodDisruptionBudget, atBest int) bool {
	switch {
	case Finished(pod) || pod.DeletionTimestamp != nil || budgets == 0:
		return false
	case budgets > 1:
		return true // whatever they say: the API server does not choose between them
	case !Healthy(pod) && alwaysAllows(only):
		return false
	}
	return atBest == 0
}

// Refusal explains the budgets that Never has returned of a pod: why they refuse
// it, with their numbers, and what helps if the budget counts pods that it cannot count.
func Refusal(budgets []*cluster.Budget) event.Blocker {
	b := event.Blocker{Cause: event.CauseBudget}
	var names []string
	for _, x := range budgets {
		b.Budgets = append(b.Budgets, Explain(x.PodDisruptionBudget, objects(x.Pods)))
		names = append(names, x.Namespace+"/"+x.Name)
	}
	if len(budgets) > 1 {
		b.Cause = event.CauseTwoBudgets
		b.Message = fmt.Sprintf("%d budgets select it (%s), and the Eviction API refuses such a pod for ever", len(names), strings.Join(names, ", "))
		return b
	}
	m, _ := Steady(budgets[0])
	demand, err := Of(budgets[0].PodDisruptionBudget, m)
	b.Message = fmt.Sprintf("budget %s allows 0 disruptions at best: ", names[0])
	switch wording := Wording(budgets[0].PodDisruptionBudget); {
	case err != nil:
		b.Message += fmt.Sprintf("its %s", err)
	case demand.Expected == 0:
		b.Message += fmt.Sprintf("with %s it expects 0 pods", wording)
		b.Hint = numberHint
	default:
		b.Message += fmt.Sprintf("%s wants %d of %d pods healthy", wording, demand.Desired, m.Pods)
	}
	return b
}

// Uncomputable tells whether pod has to stay because the disruption controller
// cannot compute its budget, and explains that: the Eviction API lets none of the
// budget's pods go until somebody has mended what is wrong. What is in the middle of
// something may wait for that; nothing should begin with it.
func Uncomputable(pod *cluster.Pod) (b event.Blocker, stays bool) {
	if Ignored(pod.Pod) || len(pod.Budgets) != 1 || PassesBy(pod.Pod, pod.Budgets[0].PodDisruptionBudget) {
		return event.Blocker{}, false
	}
	why, failed := Broken(pod.Budgets[0])
	if !failed {
		return event.Blocker{}, false
	}
	return SyncFailure(pod.Budgets[0].PodDisruptionBudget, objects(pod.Budgets[0].Pods), why), true
}

// Broken is SyncFailed for a budget that stays so until somebody mends it. Of pods that
// are being deleted and whose controller is gone already - a Deployment was replaced by
// another one of its name - the disruption controller finds no scale either, and
// computes the budget when they are gone.
func Broken(b *cluster.Budget) (why string, failed bool) {
	if why, failed = SyncFailed(b.PodDisruptionBudget); !failed {
		return "", false
	}
	for _, p := range b.Pods {
		if w := Scales(p); w != nil && !w.Found && p.DeletionTimestamp != nil {
			return "", false
		}
	}
	return why, true
}

// SyncFailure explains a budget that the disruption controller cannot compute: pods
// are those that its selector matches, why is what Broken has returned.
func SyncFailure(pdb *policyv1.PodDisruptionBudget, pods []*corev1.Pod, why string) event.Blocker {
	return event.Blocker{
		Cause:   event.CauseBudget,
		Budgets: []event.Budget{Explain(pdb, pods)},
		Message: fmt.Sprintf("budget %s/%s lets nothing go as long as the disruption controller cannot compute it: %s", pdb.Namespace, pdb.Name, why),
		Hint:    numberHint,
	}
}

// numberHint is what helps where the scale of controllers is not there to count with.
const numberHint = "give its minAvailable as a number: percentages and maxUnavailable need pods whose controller has a scale"

// Wording quotes what pdb says.
func Wording(pdb *policyv1.PodDisruptionBudget) string {
	switch spec := &pdb.Spec; {
	case spec.MaxUnavailable != nil:
		return "maxUnavailable: " + spec.MaxUnavailable.String()
	case spec.MinAvailable != nil:
		return "minAvailable: " + spec.MinAvailable.String()
	}
	return "neither minAvailable nor maxUnavailable"
}

func objects(pods []*cluster.Pod) []*corev1.Pod {
	list := make([]*corev1.Pod, len(pods))
	for i, p := range pods {
		list[i] = p.Pod
	}
	return list
}

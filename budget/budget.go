// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"refit.dev/refit/event"
)

// Healthy tells whether a budget counts pod as healthy: it is Ready and not
// being deleted (countHealthyPods).
func Healthy(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && ready(pod)
}

func ready(pod *corev1.Pod) bool {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Finished tells whether pod has ended, well or not. Such a pod may always be
// evicted and nobody waits for it to become healthy.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Ignored tells whether the Eviction API lets pod go without a look at any
// budget: finished, pending or already being deleted (canIgnorePDB).
func Ignored(pod *corev1.Pod) bool {
	return Finished(pod) || pod.Status.Phase == corev1.PodPending || pod.DeletionTimestamp != nil
}

// PassesBy tells whether the Eviction API would let pod go without asking what
// pdb (nil: none) allows: unready pods under the policy AlwaysAllow, and under
// IfHealthyBudget, the default, while enough others are healthy (policy/v1,
// UnhealthyPodEvictionPolicyType).
func PassesBy(pod *corev1.Pod, pdb *policyv1.PodDisruptionBudget) bool {
	return pdb != nil && !Healthy(pod) && LetsUnreadyPass(pdb)
}

// LetsUnreadyPass is PassesBy of any pod that is not healthy.
func LetsUnreadyPass(pdb *policyv1.PodDisruptionBudget) bool {
	return alwaysAllows(pdb) || pdb.Status.CurrentHealthy >= pdb.Status.DesiredHealthy && pdb.Status.DesiredHealthy > 0
}

func alwaysAllows(pdb *policyv1.PodDisruptionBudget) bool {
	p := pdb.Spec.UnhealthyPodEvictionPolicy
	return p != nil && *p == policyv1.AlwaysAllow
}

// Explain tells how pdb stands: the numbers of its status, and which of pods -
// those that its selector matches - use it up: not healthy, or evicted so
// recently that their deletion has not been seen. Finished pods are not among
// them. The names come sorted, without the namespace, which is the budget's.
func Explain(pdb *policyv1.PodDisruptionBudget, pods []*corev1.Pod) event.Budget {
	b := event.Budget{
		Namespace:          pdb.Namespace,
		Name:               pdb.Name,
		DisruptionsAllowed: pdb.Status.DisruptionsAllowed,
		CurrentHealthy:     pdb.Status.CurrentHealthy,
		DesiredHealthy:     pdb.Status.DesiredHealthy,
		ExpectedPods:       pdb.Status.ExpectedPods,
	}
	for _, pod := range pods {
		_, disrupted := pdb.Status.DisruptedPods[pod.Name]
		if !Finished(pod) && (!Healthy(pod) || disrupted) {
			b.Unready = append(b.Unready, pod.Name)
		}
	}
	slices.Sort(b.Unready)
	return b
}

// Members is what the arithmetic needs to know of the pods that a budget selects.
type Members struct {
	// Pods is how many there are.
	Pods int
	// Scale adds up the replicas that the controllers of the pods are to have, each
	// controller once; pods without a controller add nothing.
	Scale int
}

// Demand is what a budget asks for.
type Demand struct {
	Expected int // how many pods there should be
	Desired  int // how many of them must be healthy
}

// Of returns what the spec of pdb demands of its members (getExpectedPodCount).
// Percentages are of the scale and are rounded up, for minAvailable and for
// maxUnavailable alike. A budget that gives neither demands nothing. A value
// that is no number is an error; the disruption controller then allows nothing.
func Of(pdb *policyv1.PodDisruptionBudget, m Members) (Demand, error) {
	switch spec := &pdb.Spec; {
	case spec.MaxUnavailable != nil:
		n, err := scaled(spec.MaxUnavailable, m.Scale)
		if err != nil {
			return Demand{}, fmt.Errorf("maxUnavailable %q: %w", spec.MaxUnavailable, err)
		}
		return Demand{Expected: m.Scale, Desired: max(0, m.Scale-n)}, nil
	case spec.MinAvailable != nil && spec.MinAvailable.Type == intstr.Int:
		return Demand{Expected: m.Pods, Desired: spec.MinAvailable.IntValue()}, nil
	case spec.MinAvailable != nil:
		n, err := scaled(spec.MinAvailable, m.Scale)
		if err != nil {
			return Demand{}, fmt.Errorf("minAvailable %q: %w", spec.MinAvailable, err)
		}
		return Demand{Expected: m.Scale, Desired: n}, nil
	}
	return Demand{}, nil
}

func scaled(value *intstr.IntOrString, of int) (int, error) {
	return intstr.GetScaledValueFromIntOrPercent(value, of, true)
}

// AtBest returns how many of its members a budget lets go at once when every pod
// there should be is there and healthy. Zero means that it never lets one go:
// waiting does not help.
func (d Demand) AtBest(m Members) int {
	if d.Expected <= 0 {
		return 0 // updatePdbStatus: a budget of nobody allows nothing
	}
	return max(0, max(m.Pods, m.Scale)-d.Desired)
}

// SyncFailed tells whether the disruption controller could not compute pdb, and
// why in its words. It lets no pod go until it can, and the numbers in the
// status are those of before (failSafe).
func SyncFailed(pdb *policyv1.PodDisruptionBudget) (why string, failed bool) {
	for _, c := range pdb.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Status == metav1.ConditionFalse && c.Reason == policyv1.SyncFailedReason {
			return c.Message, true
		}
	}
	return "", false
}

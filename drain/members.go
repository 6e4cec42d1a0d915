// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// quorumSet returns the quorum set (see budget.Quorum) that asks for a pod to stay
// while others are away, as the cache has it now, with its pods. It is nil for a
// pod that is a member of none, that takes nothing away by leaving because it has
// ended or is being deleted, and if evictions are disabled: who says so passes by
// budgets and by quorums.
func (d *Drainer) quorumSet(pod *corev1.Pod) *cluster.Workload {
	if d.options.DisableEviction || over(pod) {
		return nil
	}
	if ref := metav1.GetControllerOfNoCopy(pod); ref == nil || ref.Kind != "StatefulSet" {
		return nil // most pods, and at no price
	}
	set := d.watcher.Controllers(pod)[0]
	if !budget.Quorum(set.Group, set.Kind, set.Desired) {
		return nil
	}
	return d.watcher.Workload(set.UID)
}

func over(pod *corev1.Pod) bool { return budget.Finished(pod) || pod.DeletionTimestamp != nil }

// absence says which members of a quorum set are away.
type absence struct {
	// pods are there, but not Ready or about to end; sorted by name.
	pods []*corev1.Pod
	// lacking is how many more pods there are to be.
	lacking int
}

// absent returns who is away besides pod. A member that is not Ready may leave
// itself when all others are there: it is the missing one already.
func absent(set *cluster.Workload, pod *corev1.Pod) absence {
	a := absence{lacking: max(0, int(set.Desired)-len(set.Pods))}
	for _, member := range set.Pods {
		if member.UID != pod.UID && !budget.Healthy(member.Pod) {
			a.pods = append(a.pods, member.Pod)
		}
	}
	slices.SortFunc(a.pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return a
}

func (a absence) nobody() bool { return len(a.pods) == 0 && a.lacking == 0 }

// explainQuorum says which other members of a pod's quorum set are away, and
// whether that is worth telling: that a member was just let go is not.
func (d *Drainer) explainQuorum(pod *corev1.Pod) (b event.Blocker, worth bool) {
	set := d.quorumSet(pod)
	if set == nil {
		return event.Blocker{Cause: event.CauseQueued, Message: "has not been asked for yet"}, false
	}
	others := absent(set, pod)
	if others.nobody() {
		return event.Blocker{
			Cause: event.CauseQueued, Message: fmt.Sprintf("another member of StatefulSet %s/%s was asked for just now", set.Namespace, set.Name),
		}, false
	}
	return others.explain(set), true
}

// explain says who is away, and where to look if that lasts.
func (a absence) explain(set *cluster.Workload) event.Blocker {
	var reasons []string
	look := "statefulset " + set.Name
	for _, pod := range a.pods {
		what := "is not Ready"
		if pod.DeletionTimestamp != nil {
			what = "is terminating"
		}
		reasons = append(reasons, pod.Name+" "+what)
	}
	if len(a.pods) > 0 {
		look = "pod " + a.pods[0].Name
	}
	if a.lacking > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of its %d members exist", len(set.Pods), set.Desired))
	}
	b := event.Blocker{
		Cause:   event.CauseQuorum,
		Message: fmt.Sprintf("StatefulSet %s/%s keeps its quorum: %s", set.Namespace, set.Name, strings.Join(reasons, ", ")),
		Hint:    fmt.Sprintf("it goes when all other members are Ready; if that takes long, look at `kubectl describe --namespace %s %s`", set.Namespace, look),
	}
	b, _ = blameRoom(b, a.pods)
	return b
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"refit.dev/refit/cluster"
)

// patience is how long a pod may be on its way to readiness before it is said
// that waiting will not help. A Deployment that is rolled out has as long
// (progressDeadlineSeconds, 600 by default). What the loss of a node brings with it is
// shorter: its pods are deleted when they have not been Ready for 5 minutes
// (DefaultTolerationSeconds), and then 6 minutes pass until their volumes are detached
// by force, which their replacements wait for (ReconcilerMaxWaitForUnmountDuration of the
// attach-detach controller).
const patience = 10 * time.Minute

// Unready says why pod is not healthy, in a few words, and whether it will hardly
// become so by itself: a container of it was tried and does not start; or for ten
// minutes it has not been Ready, or placed, or should have been gone. why is "" for a
// healthy pod.
func Unready(pod *corev1.Pod, now time.Time) (why string, lasting bool) {
	if pod.DeletionTimestamp != nil {
		return "terminating", age(*pod.DeletionTimestamp, now) >= patience
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && doomed(w.Reason) {
			return w.Reason, true
		}
	}
	since := pod.CreationTimestamp
	for i := range pod.Status.Conditions {
		switch c := &pod.Status.Conditions[i]; {
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			return "unschedulable", age(c.LastTransitionTime, now) >= patience
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			return "", false
		case c.Type == corev1.PodReady:
			since = c.LastTransitionTime
		}
	}
	if d := age(since, now); d > 0 {
		return "not ready for " + duration.HumanDuration(d), d >= patience
	}
	return "not ready", false
}

// doomed tells whether a container that waits for that reason was tried and did not start.
func doomed(reason string) bool {
	return strings.HasSuffix(reason, "BackOff") || strings.HasSuffix(reason, "Error") ||
		strings.HasPrefix(reason, "Err") || reason == "InvalidImageName"
}

// age is how long ago something was; 0 if that is not known.
func age(t metav1.Time, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t.Time))
}

// Recovering returns how many pods of b waiting alone may bring, beyond those that its
// status counts as healthy: those that are not healthy and may still become so (see
// Unready), those that were evicted a moment ago, those that their controllers are
// still to make, and those that have become healthy since the disruption controller
// looked.
func Recovering(b *cluster.Budget, now time.Time) int {
	members, known := Steady(b)
	n := returning(b.Pods, b.Status.DisruptedPods, members.Pods, now) + uncounted(b)
	if !known {
		n++ // perhaps
	}
	return n
}

// uncounted returns how many more pods of b are healthy than its status says. The
// controller may be seconds behind, and longer if it has just been restarted.
func uncounted(b *cluster.Budget) int {
	healthy := 0
	for _, p := range b.Pods {
		if _, evicted := b.Status.DisruptedPods[p.Name]; !evicted && !Finished(p.Pod) && Healthy(p.Pod) {
			healthy++
		}
	}
	return max(0, healthy-int(b.Status.CurrentHealthy))
}

// Returning is Recovering for the pods of a workload.
func Returning(w *cluster.Workload, now time.Time) int {
	return returning(w.Pods, nil, int(w.Desired), now)
}

func returning(pods []*cluster.Pod, disrupted map[string]metav1.Time, desired int, now time.Time) int {
	n, live := 0, 0
	for _, p := range pods {
		if Finished(p.Pod) {
			continue
		}
		live++
		_, evicted := disrupted[p.Name]
		if _, lasting := Unready(p.Pod, now); evicted || !Healthy(p.Pod) && !lasting {
			n++
		}
	}
	return n + max(0, desired-live)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// What is expected of pods that tell nothing themselves.
const (
	// usualStartup is from bound to Ready: a small image that is on the node already.
	usualStartup = 5 * time.Second
	// usualTermination is from evicted to gone: most programs end at the first signal.
	usualTermination = time.Second
)

// estimate says what is expected of the pods of a workload (nil: of bare pods),
// of which sample is one. Starting takes them as long as it took the median of
// those that run, with the second that the API keeps time in; pods that were all
// started at the same time, when the cluster was made, were slower than one that
// is replaced will be, so a lower bound goes by the quickest of them. A grace
// period below the default is taken for what the pods need, because somebody has
// thought about it; one above it is for the worst case, and a forecast that
// counted it would be wrong by minutes.
func estimate(owner *cluster.Workload, sample *cluster.Pod) workload {
	x := workload{startup: usualStartup, quickest: usualStartup, termination: usualTermination}
	if grace := ptr.Deref(sample.Spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds); grace < corev1.DefaultTerminationGracePeriodSeconds {
		x.termination = time.Duration(grace) * time.Second
	}
	if owner == nil {
		return x
	}
	var seen []time.Duration
	for _, p := range owner.Pods {
		if took, known := startup(p.Pod); known {
			seen = append(seen, took)
		}
	}
	if len(seen) > 0 {
		slices.Sort(seen)
		x.startup, x.quickest = seen[len(seen)/2], seen[0]
	}
	return x
}

// startup is how long a pod took from bound to Ready; known only if it is Ready
// and no container was restarted since.
func startup(pod *corev1.Pod) (took time.Duration, known bool) {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].RestartCount > 0 {
			return 0, false
		}
	}
	var bound, ready time.Time
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type { //nolint:exhaustive // the others tell nothing about time
		case corev1.PodScheduled:
			bound = c.LastTransitionTime.Time
		case corev1.PodReady:
			ready = c.LastTransitionTime.Time
		}
	}
	if bound.IsZero() || ready.Before(bound) {
		return 0, false
	}
	return ready.Sub(bound), true
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Reasons for which a pod stays by rule, as they stand in PodSkipped events.
const (
	SkipSelector    = "pod-selector"
	SkipTerminating = "terminating"
	SkipDaemonSet   = "daemonset"
	SkipMirror      = "mirror"
)

// The wording that follows "cannot delete", and that of the warnings, is kubectl's.
const (
	refuseDaemonSet = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
	refuseOrphan    = "Pods whose DaemonSet no longer exists (use --force to override)"
	refuseLocalData = "Pods with local storage (use --delete-emptydir-data to override)"
	refuseUnmanaged = "Pods that declare no controller (use --force to override)"
	warnOrphan      = "deleting Pods whose DaemonSet no longer exists"
	warnLocalData   = "deleting Pods with local storage"
	warnUnmanaged   = "deleting Pods that declare no controller"

	daemonSetMessage  = "belongs to a DaemonSet, which would put it back"
	removedMessage    = "belongs to a DaemonSet: it is not evicted, but deleted until its node is back, because it does not tolerate the taint " + corev1.TaintNodeOutOfService
	mirrorMessage     = "is the mirror of a static pod, which only its kubelet can stop"
	selectorMessage   = "does not match the pod selector"
	terminatingFormat = "was deleted more than %s ago and is not waited for"
)

// systemCritical is the value of the priority class system-cluster-critical;
// system-node-critical is 1000 above it (scheduling.SystemCriticalPriority in
// pkg/apis/scheduling).
const systemCritical = 2_000_000_000

// fate is what a drain does with a pod.
type fate int

const (
	leave fate = iota
	skip
	refuse
)

type judgement struct {
	fate            fate
	reason, message string
	warnings        []string
	// removed: it does not stay, although this is a skip.
	removed bool
}

// podFacts is what a rule has to know of a pod beyond the pod.
type podFacts struct {
	// daemonSetMissing: the DaemonSet that the pod names as its controller does not exist.
	daemonSetMissing bool
	// removed: the pod is deleted whatever a drain does, because its node is out of
	// service, or is about to be declared so by the drain itself: byDrain.
	removed, byDrain bool
}

// judge passes a pod through the filters in kubectl's order
// (k8s.io/kubectl/pkg/drain/filters.go). The first one that does not let it
// leave decides; warnings of all others add up.
func (o Options) judge(pod *corev1.Pod, now time.Time, facts podFacts) judgement {
	result := judgement{fate: leave}
	for _, filter := range []func(Options, *corev1.Pod, time.Time, podFacts) judgement{
		Options.filterSelector,
		Options.filterTerminating,
		Options.filterDaemonSet,
		Options.filterMirror,
		Options.filterLocalData,
		Options.filterUnmanaged,
	} {
		j := filter(o, pod, now, facts)
		if j.fate != leave {
			return j
		}
		result.warnings = append(result.warnings, j.warnings...)
	}
	return result
}

// Leaves tells whether a drain under these options takes pod off its node, or
// would refuse to: what may stay by rule does not leave.
func (o Options) Leaves(pod *cluster.Pod, now time.Time) bool {
	missing := ofDaemonSet(pod.Pod) && len(pod.Controllers) > 0 && !pod.Controllers[0].Found
	return o.judge(pod.Pod, now, podFacts{daemonSetMissing: missing}).fate != skip
}

// Refuses tells whether a drain under these options refuses the whole node because of
// pod, and in which words.
func (o Options) Refuses(pod *cluster.Pod, now time.Time) (why string, refused bool) {
	missing := ofDaemonSet(pod.Pod) && len(pod.Controllers) > 0 && !pod.Controllers[0].Found
	j := o.judge(pod.Pod, now, podFacts{daemonSetMissing: missing})
	return j.message, j.fate == refuse
}

func (o Options) filterSelector(pod *corev1.Pod, _ time.Time, _ podFacts) judgement {
	if o.PodSelector == nil || o.PodSelector.Matches(labels.Set(pod.Labels)) {
		return judgement{}
	}
	return judgement{fate: skip, reason: SkipSelector, message: selectorMessage}
}

func (o Options) filterTerminating(pod *corev1.Pod, now time.Time, _ podFacts) judgement {
	if o.SkipWaitForDelete <= 0 || pod.DeletionTimestamp == nil || now.Sub(pod.DeletionTimestamp.Time) <= o.SkipWaitForDelete {
		return judgement{}
	}
	return judgement{fate: skip, reason: SkipTerminating, message: fmt.Sprintf(terminatingFormat, o.SkipWaitForDelete)}
}

func (o Options) filterDaemonSet(pod *corev1.Pod, _ time.Time, facts podFacts) judgement {
	switch {
	case !ofDaemonSet(pod) || budget.Finished(pod):
		return judgement{}
	case facts.daemonSetMissing && o.Force:
		return judgement{warnings: []string{warnOrphan}}
	case facts.daemonSetMissing:
		return judgement{fate: refuse, message: refuseOrphan}
	case !o.IgnoreDaemonSets:
		return judgement{fate: refuse, message: refuseDaemonSet}
	}
	if facts.removed {
		if facts.byDrain && hasLocalData(pod) && !o.DeleteEmptyDirData {
			return judgement{fate: refuse, message: refuseLocalData}
		}
		return judgement{fate: skip, reason: ReasonOutOfService, message: removedMessage, removed: true}
	}
	return judgement{fate: skip, reason: SkipDaemonSet, message: daemonSetMessage}
}

func (o Options) filterMirror(pod *corev1.Pod, _ time.Time, _ podFacts) judgement {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return judgement{fate: skip, reason: SkipMirror, message: mirrorMessage}
	}
	return judgement{}
}

func (o Options) filterLocalData(pod *corev1.Pod, _ time.Time, _ podFacts) judgement {
	switch {
	case !hasLocalData(pod) || budget.Finished(pod):
		return judgement{}
	case !o.DeleteEmptyDirData:
		return judgement{fate: refuse, message: refuseLocalData}
	}
	return judgement{warnings: []string{warnLocalData}}
}

func (o Options) filterUnmanaged(pod *corev1.Pod, _ time.Time, _ podFacts) judgement {
	switch {
	case metav1.GetControllerOf(pod) != nil || budget.Finished(pod):
		return judgement{}
	case !o.Force:
		return judgement{fate: refuse, message: refuseUnmanaged}
	}
	return judgement{warnings: []string{warnUnmanaged}}
}

func ofDaemonSet(pod *corev1.Pod) bool {
	ref := metav1.GetControllerOf(pod)
	return ref != nil && ref.Kind == "DaemonSet" && ref.APIVersion == appsv1.SchemeGroupVersion.String()
}

func hasLocalData(pod *corev1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.EmptyDir != nil {
			return true
		}
	}
	return false
}

// critical pods are those that others of the node may need to the end.
func critical(pod *corev1.Pod) bool {
	return pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"math"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// defaultBackoffLimit is what the API server fills in (SetDefaults_Job in
// pkg/apis/batch/v1/defaults.go of Kubernetes).
const defaultBackoffLimit = 6

// Attempts is how often a Job tries and how often it has failed.
type Attempts struct {
	// Over: it is complete, has failed, or is suspended, so that it makes no more pods.
	Over bool
	// ManagedBy is who looks after it instead of the Job controller of Kubernetes; "": nobody.
	ManagedBy string
	// Failed is how many of its pods have failed, Limit how many may. It fails with
	// one more.
	Failed, Limit int32
	// LimitPerIndex is how many pods of one index may fail; nil: it does not count so.
	// Then it fails, too, with one more than MaxFailedIndexes (nil: any number), and when
	// all Completions have succeeded or failed, of which IndexesFailed and IndexesDone did.
	LimitPerIndex              *int32
	MaxFailedIndexes           *int32
	Completions                int32
	IndexesFailed, IndexesDone int32
	// AfterEnd: a pod that is being deleted counts as failed, and is replaced, only
	// when it has ended (podReplacementPolicy: Failed). Otherwise at once.
	AfterEnd bool
	// OnDisruption is what its podFailurePolicy does with pods that were disrupted:
	// Ignore, FailJob, FailIndex, Count; "" if it says nothing about them.
	OnDisruption string
}

// AttemptsOf reads a Job. Of a podFailurePolicy the first rule counts that looks for
// the condition DisruptionTarget (matchPodFailurePolicy in
// pkg/controller/job/pod_failure_policy.go of Kubernetes v1.37.2).
func AttemptsOf(j *batchv1.Job) *Attempts {
	limit := int32(defaultBackoffLimit)
	if j.Spec.BackoffLimitPerIndex != nil {
		limit = math.MaxInt32
	}
	a := &Attempts{
		Over: ptr.Deref(j.Spec.Suspend, false), Failed: j.Status.Failed, Limit: ptr.Deref(j.Spec.BackoffLimit, limit),
		LimitPerIndex: j.Spec.BackoffLimitPerIndex, MaxFailedIndexes: j.Spec.MaxFailedIndexes, Completions: ptr.Deref(j.Spec.Completions, 0),
		IndexesFailed: indexes(ptr.Deref(j.Status.FailedIndexes, "")), IndexesDone: indexes(j.Status.CompletedIndexes),
		AfterEnd: ptr.Deref(j.Spec.PodReplacementPolicy, batchv1.TerminatingOrFailed) == batchv1.Failed,
	}
	if by := ptr.Deref(j.Spec.ManagedBy, ""); by != batchv1.JobControllerName {
		a.ManagedBy = by
	}
	if u := j.Status.UncountedTerminatedPods; u != nil {
		a.Failed += int32(len(u.Failed)) //nolint:gosec // a number of pods
	}
	for _, c := range j.Status.Conditions {
		a.Over = a.Over || c.Status == corev1.ConditionTrue && slices.Contains([]batchv1.JobConditionType{
			batchv1.JobComplete, batchv1.JobFailed, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet,
		}, c.Type)
	}
	if j.Spec.PodFailurePolicy == nil {
		return a
	}
	a.AfterEnd = j.Spec.PodReplacementPolicy == nil || a.AfterEnd // the default with a policy
	for i := range j.Spec.PodFailurePolicy.Rules {
		rule := &j.Spec.PodFailurePolicy.Rules[i]
		if slices.ContainsFunc(rule.OnPodConditions, func(p batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
			return p.Type == corev1.DisruptionTarget && p.Status == corev1.ConditionTrue
		}) {
			a.OnDisruption = string(rule.Action)
			break
		}
	}
	return a
}

// indexes is how many there are in a list such as 1,3-5,7, as the Job controller writes it.
func indexes(list string) (n int32) {
	for interval := range strings.SplitSeq(list, ",") {
		first, last, more := strings.Cut(interval, "-")
		if !more {
			last = first
		}
		from, err := strconv.ParseInt(first, 10, 32)
		to, err2 := strconv.ParseInt(last, 10, 32)
		if err == nil && err2 == nil && to >= from {
			n += int32(to - from + 1) //nolint:gosec // it was read as one
		}
	}
	return n
}

// IndexFailures is how many pods of its index of a Job failed before this one, as the
// Job controller writes it on the pod; 0 if it does not count so.
func (p *Pod) IndexFailures() int32 {
	n, err := strconv.ParseInt(p.Annotations[batchv1.JobIndexFailureCountAnnotation], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
	"strconv"

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
	// Failed is how many of its pods have failed, Limit how many may. It fails with
	// one more.
	Failed, Limit int32
	// LimitPerIndex is how many pods of one index may fail; nil: it does not count so.
	LimitPerIndex *int32
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
	a := &Attempts{
		Over: ptr.Deref(j.Spec.Suspend, false), Failed: j.Status.Failed, Limit: ptr.Deref(j.Spec.BackoffLimit, defaultBackoffLimit),
		LimitPerIndex: j.Spec.BackoffLimitPerIndex,
		AfterEnd:      ptr.Deref(j.Spec.PodReplacementPolicy, batchv1.TerminatingOrFailed) == batchv1.Failed,
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

// IndexFailures is how many pods of its index of a Job failed before this one, as the
// Job controller writes it on the pod; 0 if it does not count so.
func (p *Pod) IndexFailures() int32 {
	n, err := strconv.ParseInt(p.Annotations[batchv1.JobIndexFailureCountAnnotation], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

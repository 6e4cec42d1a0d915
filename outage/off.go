// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// running tells whether the containers of a pod are there, or to be.
func running(p *cluster.Pod) bool {
	return p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodPending
}

// ifOff says what becomes of pods that are not deleted if their machine was not only out of
// reach, but off, as it is when it boots: their containers have ended, and the kubelet
// starts them anew only as their restartPolicy says. With Never the pod has failed, with
// OnFailure the restart counts, both for its Job (syncJob and pastBackoffLimitOnFailure in
// pkg/controller/job/job_controller.go).
func (l *loss) ifOff(list []judged, jobs map[*cluster.Workload]*tries) {
	if l.returns == never {
		return
	}
	counts, restarts := map[*cluster.Workload]*tries{}, map[*cluster.Workload]int32{}
	failed := map[*cluster.Workload]string{}
	for i := range list {
		j := &list[i]
		if j.fate != FateRestarts && j.fate != FateStays || !running(j.pod) {
			continue
		}
		switch j.pod.Spec.RestartPolicy {
		case corev1.RestartPolicyNever:
			l.ended(j, jobs, counts, failed)
		case corev1.RestartPolicyOnFailure:
			w := jobOf(j)
			if w == nil || w.Attempts.Over || l.unmade(w) != "" || managedBy(w) != "" {
				continue
			}
			n, known := restarts[w]
			if !known {
				n = restartsOf(w)
			}
			n += int32(max(1, len(j.pod.Status.ContainerStatuses))) //nolint:gosec // a handful
			if restarts[w] = n; mostRestarts(w.Attempts, n) {
				failed[w] = fmt.Sprintf("its containers are started again, the %s restart of Job %s, of which %d are allowed (backoffLimit): the Job fails", ordinal(n), w.Name, w.Attempts.Limit)
			}
		case corev1.RestartPolicyAlways:
		}
	}
	for i := range list {
		j := &list[i]
		w := jobOf(j)
		if w != nil && failed[w] != "" && (j.fate == FateRestarts || j.fate == FateStays) {
			j.off, j.offWhy = FateFailsJob, failed[w]
		}
		j.offAgain = l.againIfOff(j, w, counts[w])
	}
}

// againIfOff is when something can run in the place of a pod whose machine was off.
func (l *loss) againIfOff(j *judged, job *cluster.Workload, t *tries) float64 {
	switch {
	case j.off != FateReplaced:
		return never
	case job == nil || t == nil:
		return l.returns
	}
	// As far as the kubelet knows the containers ended when it began again.
	row := int(t.failed - job.Attempts.Failed)
	if job.Attempts.LimitPerIndex != nil {
		row = int(j.pod.IndexFailures()) + 1
	}
	return l.returns + backOffAfter(row)
}

// jobOf is the Job whose pod it is; nil if it is of none, or of one that is gone.
func jobOf(j *judged) *cluster.Workload {
	if len(j.pod.Controllers) == 0 {
		return nil
	}
	if w := j.pod.Controllers[0]; w.Kind == "Job" && w.Group == batchv1.GroupName && w.Found {
		return w
	}
	return nil
}

// ended is for a pod whose containers are not started again.
func (l *loss) ended(j *judged, jobs, counts map[*cluster.Workload]*tries, failed map[*cluster.Workload]string) {
	const never = "its containers are not started again (restartPolicy: Never)"
	j.off, j.offWhy = FateLost, never
	if len(j.pod.Controllers) == 0 {
		return
	}
	w := j.pod.Controllers[0]
	job := jobOf(j)
	switch {
	case job == nil && !builtIn(w):
		j.off = FateReplaced
		j.offWhy += fmt.Sprintf("; it is up to %s %s to make another pod", w.Kind, w.Name)
	case job != nil && job.Attempts.Over:
	case job != nil && l.unmade(w) != "":
		j.offWhy += fmt.Sprintf("; Job %s makes no other one: %s", w.Name, l.unmade(w))
	case job != nil && managedBy(w) != "":
		j.off = FateReplaced
		j.offWhy += fmt.Sprintf("; it is up to %s, which looks after Job %s (spec.managedBy), to make another pod", managedBy(w), w.Name)
	case job != nil:
		if counts[w] == nil {
			counts[w] = triesOf(w, jobs).spare()
		}
		what, why := counts[w].count(w.Attempts, j.pod, "Job "+w.Name)
		j.offWhy += "; " + why
		switch what {
		case fails:
			failed[w] = j.offWhy
		case goesOn:
			j.off = FateReplaced
		case givesIndexUp:
		}
	}
}

// offRemarks sum up what is different if the machines were off.
func offRemarks(f *Forecast) []string {
	var ended, failing []string
	for i := range f.Pods {
		p := &f.Pods[i]
		switch p.IfOff {
		case FateFailsJob:
			failing = append(failing, p.Owner+" in "+p.Namespace)
		case "":
		default:
			ended = append(ended, p.Namespace+"/"+p.Name)
		}
	}
	const most = 5
	var out []string
	if len(ended) > 0 {
		out = append(out, fmt.Sprintf("if the machine is off meanwhile, as when it boots, %s with restartPolicy Never %s not start again: %s",
			phrase.Count(len(ended), "pod"), phrase.Plural(len(ended), "does", "do"), phrase.Few(ended, most)))
	}
	slices.Sort(failing)
	if failing = slices.Compact(failing); len(failing) > 0 {
		out = append(out, fmt.Sprintf("if the machine is off meanwhile, as when it boots, %s for good, with more failures than are allowed: %s",
			phrase.Plural(len(failing), "a Job fails", "Jobs fail"), phrase.Few(failing, most)))
	}
	if len(out) > 0 {
		out = append(out, "what workloads have left is counted as if the machine was off")
	}
	return out
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// tries are the failures of a Job in this outage.
type tries struct {
	failed  int32 // in all, those before included
	indexes int32 // that were given up in this outage
	counted []*judged
	over    *Moment // when the Job fails; nil: it does not
}

// verdicts on a failure, beside that another pod is made.
type consequence int

const (
	goesOn consequence = iota
	givesIndexUp
	fails
)

// count takes down a failure, and says what the Job makes of it, in words as well (syncJob
// and calculateFailedIndexes in pkg/controller/job).
func (t *tries) count(a *cluster.Attempts, p *cluster.Pod, name string) (consequence, string) {
	t.failed++
	if t.failed > a.Limit {
		return fails, fmt.Sprintf("it counts as failure %d of %s, of which %d are allowed (backoffLimit): the Job fails, and its other pods are deleted", t.failed, name, a.Limit)
	}
	if a.LimitPerIndex == nil {
		return goesOn, fmt.Sprintf("%s makes another one; it counts as failure %d of %d that are allowed (backoffLimit)", name, t.failed, a.Limit)
	}
	n := p.IndexFailures() + 1
	if n <= *a.LimitPerIndex {
		return goesOn, fmt.Sprintf("it counts as failure %d of its index of %s, of which %d are allowed", n, name, *a.LimitPerIndex)
	}
	return t.giveUp(a, fmt.Sprintf("it is failure %d of its index of %s, of which %d are allowed: the index is given up", n, name, *a.LimitPerIndex))
}

// giveUp takes down that an index of a Job has failed.
func (t *tries) giveUp(a *cluster.Attempts, why string) (consequence, string) {
	t.indexes++
	total := a.IndexesFailed + t.indexes
	switch {
	case a.MaxFailedIndexes != nil && total > *a.MaxFailedIndexes:
		return fails, fmt.Sprintf("%s, the %s one, of which %d are allowed (maxFailedIndexes): the Job fails, and its other pods are deleted", why, ordinal(total), *a.MaxFailedIndexes)
	case a.Completions > 0 && total+a.IndexesDone >= a.Completions:
		return fails, why + ", and there is no other one that has not ended: the Job fails"
	}
	return givesIndexUp, why
}

func ordinal(n int32) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n, suffix)
}

// attempt counts a pod of a Job that is deleted (isPodFailed, trackJobStatusAndRemoveFinalizers
// and manageJob in pkg/controller/job/job_controller.go).
func (l *loss) attempt(j *judged, w *cluster.Workload, jobs map[*cluster.Workload]*tries) {
	a, t := w.Attempts, triesOf(w, jobs)
	name := "Job " + w.Name
	switch {
	case t.over != nil:
		l.fallWith(j, t)
	case a.Over:
		j.fate, j.why = FateLost, name+" is over or suspended, and makes no more pods"
	case a.AfterEnd:
		l.afterEnd(j, t, a, name)
	case j.pod.DeletionTimestamp != nil:
		j.fate, j.why, j.renewed = FateReplaced, "", true
	default:
		var what consequence
		what, j.why = t.count(a, j.pod, name)
		switch what {
		case fails:
			j.fate, t.over = FateFailsJob, j.when.at
		case givesIndexUp:
			j.fate = FateLost
		case goesOn:
			j.fate, j.renewed = FateReplaced, true
		}
		t.counted = append(t.counted, j)
	}
}

func triesOf(w *cluster.Workload, jobs map[*cluster.Workload]*tries) *tries {
	t := jobs[w]
	if t == nil {
		t = &tries{failed: w.Attempts.Failed}
		jobs[w] = t
	}
	return t
}

// afterEnd is for a pod of a Job that waits for it to have ended: with its node, or when it is
// removed without that.
func (l *loss) afterEnd(j *judged, t *tries, a *cluster.Attempts, name string) {
	what, then := t.afterwards(j, a, name)
	gone, why := l.failedAt(j)
	if gone == nil {
		j.fate, j.barren, j.ends = FateStuck, what != goesOn, what == fails
		j.why = fmt.Sprintf("%s makes another one only when it has ended (podReplacementPolicy: Failed)%s", name, then)
		return
	}
	j.why = fmt.Sprintf("%s, and has ended then, for which %s waits (podReplacementPolicy: Failed)%s", why, name, then)
	switch what {
	case fails:
		j.fate, t.over = FateFailsJob, gone
	case givesIndexUp:
		j.fate = FateLost
	case goesOn:
		j.fate, j.renewed, j.after = FateReplaced, true, true
		j.startsFrom(gone)
	}
}

// afterwards says what a Job makes of a pod that was disrupted, once it has ended.
func (t *tries) afterwards(j *judged, a *cluster.Attempts, name string) (what consequence, why string) {
	if j.pod.DeletionTimestamp != nil {
		return goesOn, "" // why it was deleted is not known, nor whether it counts
	}
	switch batchv1.PodFailurePolicyAction(a.OnDisruption) {
	case batchv1.PodFailurePolicyActionIgnore:
		return goesOn, "; its podFailurePolicy does not count it as a failure then"
	case batchv1.PodFailurePolicyActionFailJob:
		return fails, "; its podFailurePolicy fails the Job then"
	case batchv1.PodFailurePolicyActionFailIndex:
		what, why = t.giveUp(a, "its podFailurePolicy gives the index up")
	default:
		if what, why = t.count(a, j.pod, name); what == goesOn && a.LimitPerIndex == nil {
			why = fmt.Sprintf("it counts as failure %d, of which %d are allowed", t.failed, a.Limit)
		}
	}
	return what, "; then " + why
}

// The wait of a Job before it makes another pod: it doubles with each failure in a row
// (getRemainingTimeForFailuresCount in pkg/controller/job/backoff_utils.go;
// DefaultJobPodFailureBackOff, MaxJobPodFailureBackOff and SyncJobBatchPeriod in
// job_controller.go).
const (
	firstBackOff   = 10 * time.Second
	longestBackOff = 10 * time.Minute
	batchPeriod    = time.Second
)

// backOff has Jobs wait before they make pods anew. The wait counts from when a pod was
// not Ready any more, which is long before it is deleted, but it is for all that have
// failed by then: those of an index, or all of the Job. Failures in a row before the outage
// are not known, and left out.
func (l *loss) backOff(t *tries) {
	row := 0
	for i, j := range t.counted {
		for row < len(t.counted) && t.counted[row].when.at.At <= j.when.at.At+batchPeriod.Seconds() {
			row++
		}
		since := l.clocks[j.clock].unknown
		if t.counted[i].fate != FateReplaced {
			continue
		}
		if t.over != nil && t.over.At <= j.when.at.At+batchPeriod.Seconds() {
			j.fate, j.renewed = FateFailsJob, false
			j.why = "Job " + j.pod.Controllers[0].Name + " fails because of this one and others at the same time"
			continue
		}
		if since == nil {
			continue
		}
		n := row
		if j.pod.Controllers[0].Attempts.LimitPerIndex != nil {
			n = int(j.pod.IndexFailures()) + 1
		}
		starts := since.plus(backOffAfter(n))
		if starts.At <= j.when.at.At+batchPeriod.Seconds() {
			continue
		}
		starts.Earliest = max(starts.Earliest, j.when.at.Earliest)
		starts.Latest = max(starts.Latest, j.when.at.Latest)
		j.starts = &starts
		j.why += fmt.Sprintf("; not before %s, because of %d failures in a row", clockTime(starts.At), n)
	}
}

// backOffAfter is how many seconds a Job waits after so many failures in a row, from the last
// one on.
func backOffAfter(row int) float64 {
	return min(longestBackOff.Seconds(), firstBackOff.Seconds()*math.Pow(2, float64(row-1)))
}

// mostRestarts tells whether a Job fails because its containers were restarted so often
// (pastBackoffLimitOnFailure in pkg/controller/job/job_controller.go).
func mostRestarts(a *cluster.Attempts, restarts int32) bool {
	return restarts > 0 && restarts >= a.Limit
}

// restartsOf is by how often the containers of the running pods of a Job were restarted.
func restartsOf(w *cluster.Workload) (n int32) {
	for _, p := range w.Pods {
		if running(p) {
			for _, c := range p.Status.InitContainerStatuses {
				n += c.RestartCount
			}
			for _, c := range p.Status.ContainerStatuses {
				n += c.RestartCount
			}
		}
	}
	return n
}

// spare is a copy to count on without consequences.
func (t *tries) spare() *tries { return ptr.To(*t) }

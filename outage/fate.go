// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// judged is a pod of a lost node while it is worked out.
type judged struct {
	pod     *cluster.Pod
	clock   int // by lost node
	when    deletion
	fate    Fate
	why     string
	renewed bool // its controller makes another one while the node is away
	after   bool // but not before it is gone itself, or has ended
	place   int  // where that is expected; below 0: nowhere
	later   int  // where that is expected instead when the nodes are back; below 0: nowhere
	maybe   bool // whether it is deleted is chance
	// starts is when its Job makes another one, other than at once.
	starts *Moment
	// barren: nothing takes its place when the node is back either, ends that its Job
	// fails then.
	barren, ends bool
	// off is what becomes of it if its machine was off, "" if the same, offWhy why, and
	// offAgain when it, or what takes its place, can run again then.
	off      Fate
	offWhy   string
	offAgain float64
}

// worst is the fate that counts where pods are summed up: nobody can tell from outside
// whether a machine is off.
func (j *judged) worst() Fate { return cmp.Or(j.off, j.fate) }

// decide says what becomes of a pod that is deleted. Pods come in the order of
// their deletions, because Jobs count them.
func (l *loss) decide(j *judged, jobs map[*cluster.Workload]*tries) {
	p := j.pod
	if len(p.Controllers) == 0 {
		j.fate, j.why = FateLost, "nobody makes another one"
		return
	}
	w := p.Controllers[0]
	name := w.Kind + " " + w.Name
	switch known := builtIn(w); {
	case known && !w.Found:
		j.fate, j.why = FateLost, fmt.Sprintf("its %s does not exist any more", name)
	case known && l.unmade(w) != "":
		j.fate, j.why = FateLost, fmt.Sprintf("%s makes no other one: %s", name, l.unmade(w))
	case known && w.Kind != "DaemonSet" && w.Kind != "Job" && w.Desired == 0:
		j.fate, j.why = FateUnwanted, fmt.Sprintf("%s wants no pods any more", name)
	case known && w.Kind == "StatefulSet" && condemned(p, w):
		j.fate, j.why = FateUnwanted, fmt.Sprintf("%s wants %s, and %s no more", name, phrase.Count(int(w.Desired), "pod"), p.Name)
	case known && managedBy(w) != "" && !w.Attempts.Over:
		j.fate, j.renewed = FateReplaced, true
		j.why = fmt.Sprintf("it is up to %s, which looks after %s (spec.managedBy), to make another one", managedBy(w), name)
	case w.Kind == "Job" && known:
		l.attempt(j, w, jobs)
	case w.Kind == "StatefulSet" && known:
		j.fate, j.why = FateStuck, fmt.Sprintf("%s makes %s anew only when it is gone", name, p.Name)
		if gone, why := l.removed(j); gone != nil {
			j.fate, j.renewed, j.after, j.why = FateReplaced, true, true, fmt.Sprintf("%s, and %s makes it anew", why, name)
			j.startsFrom(gone)
		}
	case w.Kind == "DaemonSet" && known: // wants a pod on this very node (nodeShouldRunDaemonPod in pkg/controller/daemon)
		j.fate, j.why = FateStuck, fmt.Sprintf("%s makes another one there when the taint is gone", name)
		if gone, why := l.removed(j); gone != nil {
			j.fate, j.why = FateUnwanted, why+", and "+j.why
		}
	case known:
		j.fate, j.renewed = FateReplaced, true
		j.why = fmt.Sprintf("%s makes another one", name)
	default:
		j.fate, j.renewed = FateReplaced, true
		j.why = fmt.Sprintf("it is up to %s, which is no controller of Kubernetes itself, to make another one", name)
	}
	if p.DeletionTimestamp != nil && j.renewed && j.starts == nil {
		j.renewed, j.why = false, fmt.Sprintf("%s has made another one since", name)
	}
	if names := finalizers(p.Pod); len(names) > 0 {
		j.why += fmt.Sprintf("; its object stays, also when the node is back, until its %s %s %s removed",
			phrase.Plural(len(names), "finalizer", "finalizers"), strings.Join(names, ", "), phrase.Plural(len(names), "is", "are"))
	}
}

// unmade says why nobody makes pods for a workload that is there; "": somebody does.
func (l *loss) unmade(w *cluster.Workload) string {
	if w.Deleting && controllerOf(w) != "" {
		return "it is being deleted itself"
	}
	if managedBy(w) != "" {
		return ""
	}
	why, _ := l.p.off(controllerOf(w))
	return why
}

// managedBy is who looks after a Job instead of Kubernetes itself; "": nobody.
func managedBy(w *cluster.Workload) string {
	if w.Attempts == nil {
		return ""
	}
	return w.Attempts.ManagedBy
}

// condemned tells whether a StatefulSet has fewer pods than the ordinal of this one asks for,
// so that it deletes it, and makes it no more (podInOrdinalRange in
// pkg/controller/statefulset/stateful_set_utils.go).
func condemned(p *cluster.Pod, w *cluster.Workload) bool {
	number := p.Name[strings.LastIndexByte(p.Name, '-')+1:]
	n, err := strconv.ParseInt(number, 10, 32)
	return err == nil && w.Desired >= 0 && (n < int64(w.FirstOrdinal) || n >= int64(w.FirstOrdinal)+int64(w.Desired))
}

// builtIn tells whether the workload is one of those that are read from the cluster.
func builtIn(w *cluster.Workload) bool {
	switch w.Group {
	case appsv1.GroupName:
		return slices.Contains([]string{"ReplicaSet", "StatefulSet", "DaemonSet", "Deployment"}, w.Kind)
	case batchv1.GroupName:
		return w.Kind == "Job"
	case corev1.GroupName:
		return w.Kind == "ReplicationController"
	}
	return false
}

// vanishes tells whether the API server removes a pod at once when it is deleted,
// without waiting for its kubelet (CheckGracefulDelete in
// pkg/registry/core/pod/strategy.go).
func vanishes(p *cluster.Pod) bool {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	const usual = 30 // seconds, which the API server fills in
	return len(finalizers(p.Pod)) == 0 && p.DeletionTimestamp == nil && (ended || ptr.Deref(p.Spec.TerminationGracePeriodSeconds, usual) == 0)
}

// finalizers are those of which nobody here knows who removes them. The Job
// controller's own goes when it has counted the pod.
func finalizers(p *corev1.Pod) []string {
	var names []string
	for _, name := range p.Finalizers {
		if name != batchv1.JobTrackingFinalizer {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fallWith is for the other pods of a Job that fails: it deletes them then, whatever
// they tolerate (deleteActivePods in pkg/controller/job/job_controller.go).
func (l *loss) fallWith(j *judged, t *tries) {
	j.fate, j.why, j.renewed = FateFailsJob, "Job "+j.pod.Controllers[0].Name+" has failed, and deletes its other pods", false
	if j.pod.DeletionTimestamp == nil {
		if j.when.at == nil || t.over.At < j.when.at.At {
			j.when = deletion{at: t.over, patience: j.when.patience}
		}
	}
}

// failed finds the pods of failed Jobs that would not have been deleted otherwise.
func (l *loss) failed(list []judged, jobs map[*cluster.Workload]*tries) {
	for i := range list {
		j := &list[i]
		if len(j.pod.Controllers) == 0 || j.fate != FateStays && j.fate != FateRestarts {
			continue
		}
		if t := jobs[j.pod.Controllers[0]]; t != nil && t.over != nil {
			l.fallWith(j, t)
		}
	}
}

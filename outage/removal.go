// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
)

// collects is how often what is left of pods is looked for (gcCheckPeriod in
// pkg/controller/podgc/gc_controller.go).
const collects = 20 * time.Second

// removed is when the object of a deleted pod is removed without waiting for its node to be
// back, and why; nil: it is not.
//
// It is removed at once if its grace period is 0. If its node is said to be out of service, and
// not Ready, whoever collects what is left of pods removes it (gcTerminating in the same file).
// If the node is back before the pod is deleted, its kubelet ends it. A finalizer keeps it, and
// nobody removes anything without a control plane.
func (l *loss) removed(j *judged) (gone *Moment, why string) {
	p, at := j.pod, j.when.at
	switch {
	case at == nil || len(finalizers(p.Pod)) > 0 || l.halted != "":
		return nil, ""
	case vanishes(p):
		return at, "its grace period is 0, so it is gone at once"
	case at.At > l.returns:
		return at, fmt.Sprintf("%s is back by then, and ends it", p.Host.Name)
	}
	return l.collected(j)
}

// failedAt is when a deleted pod counts as Failed although its node is away, and why; nil: it does
// not. Whoever removes it because its node is out of service says so first, and also if a
// finalizer keeps its object (markFailedAndDeletePod in the same file).
func (l *loss) failedAt(j *judged) (*Moment, string) {
	switch {
	case j.when.at == nil || l.halted != "":
		return nil, ""
	case j.when.at.At > l.returns:
		return j.when.at, fmt.Sprintf("%s is back by then, and ends it", j.pod.Host.Name)
	case vanishes(j.pod) && jobOf(j) == nil: // the Job controller's own finalizer keeps its pods
		return nil, ""
	}
	return l.collected(j)
}

// collected is when what is left of a deleted pod is collected because its node is out of service.
func (l *loss) collected(j *judged) (*Moment, string) {
	at, unready := j.when.at, l.unreadyFrom(j.clock)
	if _, off := l.p.off(podCollector); off || unready == nil || !saidOff(j.pod.Host) {
		return nil, ""
	}
	period := collects.Seconds()
	removed := Moment{max(0, at.At, unready.At) + period/2, max(0, at.Earliest, unready.Earliest), max(0, at.Latest, unready.Latest) + period}
	if removed.At >= l.returns {
		return nil, ""
	}
	return &removed, fmt.Sprintf("%s is said to be out of service, so it is removed within %s", j.pod.Host.Name, span(collects))
}

// unreadyFrom is from when on a lost node is not Ready; nil: it stays what it is.
func (l *loss) unreadyFrom(clock int) *Moment {
	if l.unready[l.lost[clock]] {
		return &Moment{}
	}
	return l.clocks[clock].unknown
}

// saidOff tells whether a node has the taint of those that are out of service, which counts as
// soon as it is not Ready.
func saidOff(n *cluster.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

// startsFrom has what takes the place of a pod start when that is gone.
func (j *judged) startsFrom(gone *Moment) {
	if gone.At > j.when.at.At {
		j.starts = gone
	}
}

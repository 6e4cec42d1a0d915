// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
)

// deletion is when a pod gets its deletion timestamp, or why it does not.
type deletion struct {
	at       *Moment
	fate     Fate // of a pod that is not deleted
	patience *int64
	why      string
	close    bool
}

// deletion works out whether a pod of a lost node with this clock is deleted.
func (l *loss) deletion(p *cluster.Pod, c *clock) deletion {
	if p.DeletionTimestamp != nil {
		// The timestamp is when its grace period is over.
		asked := min(0, l.since(p.DeletionTimestamp.Time)-float64(ptr.Deref(p.DeletionGracePeriodSeconds, 0)))
		return deletion{at: &Moment{asked, asked, asked}, why: "it was being deleted when its node went away"}
	}
	if l.halted == "" && c.before != nil && l.p.EvictionTimeout == nil {
		if d, known := l.exchanged(p, c); known {
			return d
		}
	}
	patient := l.patienceOf(p, corev1.TaintNodeUnreachable)
	if l.p.EvictionTimeout != nil && !p.Mirror() && !p.DaemonSet() {
		patient = patience{new(int64), fmt.Sprintf("all pods of a node are deleted %s after it became Unknown (--%s)", span(l.p.EvictionTimeout.Value), flagEvictionTimeout)}
	}
	switch {
	case patient.seconds == nil && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed:
		return deletion{fate: FateStays, why: patient.why}
	case l.halted != "":
		return l.kept(patient, l.halted+": nothing is deleted and nothing is replaced")
	case c.tainted == nil:
		return l.kept(patient, c.untainted)
	case patient.seconds == nil:
		return deletion{fate: FateFinished, why: "it had ended before; " + patient.why}
	}
	return l.expire(p, *c.tainted, patient, c)
}

// exchanged is for a pod whose node has the taint not-ready, which is exchanged for the
// other one when the node becomes Unknown. Whoever tolerates that for ever stays then,
// whoever does not tolerate it goes; who tolerates both for a while goes when the first
// one is over, and who tolerates the first for ever is like any other pod (processPodOnNode
// in pkg/controller/tainteviction/taint_eviction.go).
func (l *loss) exchanged(p *cluster.Pod, c *clock) (d deletion, known bool) {
	first := l.patienceOf(p, corev1.TaintNodeNotReady)
	if first.seconds == nil {
		return d, false
	}
	since := Moment{*c.before, *c.before, *c.before}
	if l.plane.leaderless(l.names) {
		since.Latest = max(since.Latest, takeover) // a new leader counts anew
	}
	if c.unknown == nil || since.plus(float64(*first.seconds)).At <= c.unknown.At {
		return l.expire(p, since, first, c), true
	}
	second := l.patienceOf(p, corev1.TaintNodeUnreachable)
	switch {
	case second.seconds == nil:
		return d, false
	case *second.seconds == 0:
		return l.expire(p, *c.unknown, second, c), true
	}
	return l.expire(p, since, first, c), true
}

// byChance tells whether a pod of a node that may be tainted or not is deleted only in one
// of both cases; d is what becomes of it in that which is told.
func (l *loss) byChance(p *cluster.Pod, c *clock, d *deletion) bool {
	switch {
	case p.DeletionTimestamp != nil || l.halted != "":
		return false
	case d.at != nil:
		return true
	}
	other := *c
	if other.removed = never; other.tainted == nil {
		other.tainted = c.unknown
	}
	return l.deletion(p, &other).at != nil
}

// kept is for a pod of a node that is not tainted.
func (l *loss) kept(x patience, why string) deletion {
	if l.returns < never {
		return deletion{fate: FateRestarts, patience: x.seconds, why: why}
	}
	return deletion{fate: FateStays, patience: x.seconds, why: why}
}

// expire compares the end of a pod's patience with what may come before it.
func (l *loss) expire(p *cluster.Pod, tainted Moment, x patience, c *clock) deletion {
	at := tainted.plus(float64(*x.seconds)) // not before the loss
	if at.At > c.removed {
		return l.kept(x, c.untainted)
	}
	// A node that reports again loses its taint at the next look at all nodes.
	period := l.p.MonitorPeriod.Value.Seconds()
	d := deletion{at: &at, patience: x.seconds, why: x.why, close: at.Earliest < l.returns+period && at.Latest > l.returns}
	if at.At > l.returns+period/2 {
		d.at, d.fate = nil, FateRestarts
		d.why = fmt.Sprintf("%s, until %s, and %s is back before that", x.why, clockTime(at.At), p.Host.Name)
	}
	return d
}

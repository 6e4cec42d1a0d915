// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
)

// phase is from when on a node has which taints of the effect NoExecute.
type phase struct {
	at     Moment
	taints []corev1.Taint
	// over: those of the outage are taken away again, because of why; "": because the node
	// is back.
	over bool
	why  string
}

// phases are those of a lost node with this clock, in their order: the taints that it has
// already, what the outage adds to them, and takes away again.
func (l *loss) phases(node int, c *clock) []phase {
	var list []phase
	var has []corev1.Taint
	enter := func(at Moment, taints []corev1.Taint) {
		has = taints
		list = append(list, phase{at: at, taints: has})
	}
	with := func(t corev1.Taint) []corev1.Taint { return append(slices.Clone(has), t) }
	without := func(keys ...string) []corev1.Taint {
		return slices.DeleteFunc(slices.Clone(has), func(t corev1.Taint) bool { return slices.Contains(keys, t.Key) })
	}
	back := l.returns + l.p.MonitorPeriod.Value.Seconds()/2 // the next look at all nodes
	if _, off := l.p.off(nodeLifecycle); off {
		back = never // nobody takes the taint away
	}
	tainted := c.tainted
	for _, t := range l.standingTaints(node) {
		since := l.taintedSince(&t)
		if tainted != nil && tainted.At < since {
			enter(*tainted, with(unreachable()))
			tainted = nil
		}
		enter(Moment{since, since, since}, with(t))
	}
	if tainted != nil && tainted.At <= back {
		enter(*tainted, with(unreachable()))
		if c.before {
			// The one is added, and then the other one is removed (SwapNodeControllerTaint in
			// pkg/controller/util/node/controller_utils.go).
			enter(*tainted, append(without(corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable), unreachable()))
		}
	}
	if end := min(back, c.removed); end < never {
		enter(Moment{end, end, end}, without(corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable))
		last := &list[len(list)-1]
		if last.over = true; c.removed < back {
			last.why = c.untainted
		}
	}
	return list
}

// standingTaints are those of the effect NoExecute that a node has already, the oldest first,
// but for the one of a silent node, which is a matter of its clock. A node that is Ready loses
// what says that it is not at the next look at all nodes, if anybody looks.
func (l *loss) standingTaints(node int) []corev1.Taint {
	n := l.s.Nodes[node]
	var taints []corev1.Taint
	_, unwatched := l.p.off(nodeLifecycle)
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute && !(ofHealth(&t) && cluster.Ready(n.Node) && !unwatched) && !(saysUnreachable(t) && cluster.Lost(n.Node)) {
			taints = append(taints, t)
		}
	}
	slices.SortStableFunc(taints, func(a, b corev1.Taint) int { return cmp.Compare(l.taintedSince(&a), l.taintedSince(&b)) })
	return taints
}

// ofHealth tells whether a taint is one of the two that come and go with a node's health.
func ofHealth(t *corev1.Taint) bool {
	return t.Key == corev1.TaintNodeUnreachable || t.Key == corev1.TaintNodeNotReady
}

func saysUnreachable(t corev1.Taint) bool {
	return t.Key == corev1.TaintNodeUnreachable && t.Effect == corev1.TaintEffectNoExecute
}

// unreachable is the taint of a node that is silent.
func unreachable() corev1.Taint {
	return corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}
}

// foreignTaints are those of the effect NoExecute that do not come and go with a node's health.
func foreignTaints(n *cluster.Node) (taints []corev1.Taint) {
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute && !ofHealth(&t) {
			taints = append(taints, t)
		}
	}
	return taints
}

// taintedSince is since when a node has a taint. If nobody knows, as of one that a person
// set with kubectl, it is taken to be the oldest one.
func (l *loss) taintedSince(t *corev1.Taint) float64 {
	if t.TimeAdded == nil {
		return math.Inf(-1)
	}
	return min(0, l.since(t.TimeAdded.Time))
}

// schedule is what the taint manager has in mind for a pod (TimedWorker in
// pkg/controller/tainteviction/timed_workers.go).
type schedule struct {
	due Moment
	patience
}

// follow is what the taint manager makes of a pod while its node goes through these phases
// (processPodOnNode in pkg/controller/tainteviction/taint_eviction.go). A taint that is not
// tolerated means at once. Otherwise the shortest toleration of all taints counts, from when
// they are seen; but who is to be deleted already stays so, at that time, whatever taints
// come and go, unless all that are left are tolerated for ever.
//
// The schedule is nil if the pod is not deleted. If it was to be, dropped is what was taken
// back then, and by is the phase that did it.
func (l *loss) follow(p *cluster.Pod, phases []phase) (s, dropped *schedule, by *phase) {
	bound := l.boundAt(p)
	for i := range phases {
		ph := &phases[i]
		if s != nil && s.due.At <= ph.at.At {
			return s, nil, nil
		}
		at := ph.at
		if at.At < bound {
			at = Moment{bound, bound, bound} // it came to the node later
		}
		x := l.patienceOf(p, ph.taints)
		switch {
		case x.seconds == nil:
			if dropped, by = nil, nil; s != nil && ph.over {
				dropped, by = s, ph
			}
			s = nil
		case x.against || s == nil:
			s = &schedule{l.dueAfter(at, float64(*x.seconds)), x}
		}
	}
	return s, dropped, by
}

// boundAt is since when a pod has been on its node: the taint manager does not count from
// before that.
func (l *loss) boundAt(p *cluster.Pod) float64 {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero() {
			return min(0, l.since(c.LastTransitionTime.Time))
		}
	}
	return math.Inf(-1)
}

// overdue is after how many seconds a pod that should have been deleted, and was not, is no
// longer taken to be about to be.
const overdue = 10

// dueAfter is when a pod is deleted that has so many seconds from at on. A new leader counts
// from when it begins, as if everything was new. And what is long over while the pod is there
// has begun later than it seems to have, nobody knows when.
func (l *loss) dueAfter(at Moment, seconds float64) Moment {
	due := Moment{at.At + seconds, at.Earliest + seconds, at.Latest + seconds}
	if at.At < 0 && l.plane.leaderless(l.names) {
		due.Latest = max(due.Latest, takeover+seconds)
	}
	if due.At < -overdue {
		due = Moment{seconds / 2, 0, max(due.Latest, seconds)}
	}
	return due.plus(0) // not before the loss
}

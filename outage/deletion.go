// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"fmt"

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
func (l *loss) deletion(p *cluster.Pod, c *clock, phases []phase) deletion {
	if p.DeletionTimestamp != nil {
		// The timestamp is when its grace period is over.
		asked := min(0, l.since(p.DeletionTimestamp.Time)-float64(ptr.Deref(p.DeletionGracePeriodSeconds, 0)))
		return deletion{at: &Moment{asked, asked, asked}, why: "it was being deleted when its node went away"}
	}
	own := l.patienceOf(p, append(foreignTaints(p.Host), unreachable()))
	old := l.p.EvictionTimeout != nil && !p.Mirror() && !p.DaemonSet()
	if old {
		own = patience{seconds: new(int64), why: fmt.Sprintf("all pods of a node are deleted %s after it became Unknown (--%s)", span(l.p.EvictionTimeout.Value), flagEvictionTimeout)}
	}
	if l.halted != "" {
		if own.seconds == nil {
			return deletion{fate: FateStays, why: own.why}
		}
		return l.kept(own, l.halted+": nothing is deleted and nothing is replaced")
	}
	why, unheeded := l.p.off(taintEviction)
	if unheeded || l.p.EvictionTimeout != nil {
		if expelled := l.expelled(p); expelled != nil {
			return *expelled
		}
	}
	switch {
	case unheeded && own.seconds != nil:
		return l.kept(own, why+": nothing is deleted because of a taint")
	case l.p.EvictionTimeout != nil && !old && own.seconds == nil:
		return deletion{fate: FateStays, why: own.why}
	case l.p.EvictionTimeout != nil && !old:
		return l.kept(own, "it is a pod of a DaemonSet, and nobody looks at taints (--enable-taint-manager=false)")
	}
	var s, dropped *schedule
	var by *phase
	switch {
	case !old && l.p.EvictionTimeout == nil:
		s, dropped, by = l.follow(p, phases)
	case old && c.tainted != nil:
		s, dropped, by = l.outwait(&schedule{*c.tainted, own}, phases)
	}
	switch {
	case s != nil:
		return deletion{at: &s.due, patience: s.seconds, why: s.why, close: l.closeTo(s, p)}
	case dropped != nil && by.why != "":
		return l.kept(dropped.patience, by.why)
	case dropped != nil:
		return l.inTime(p, dropped)
	case own.seconds == nil:
		return deletion{fate: FateStays, why: own.why}
	case c.tainted != nil && c.removed == never: // when it is back
		return l.inTime(p, &schedule{l.dueAfter(*c.tainted, float64(*own.seconds)), own})
	}
	return l.kept(own, c.untainted)
}

// expelled is for servers on which nobody else looks at taints: a DaemonSet deletes its pods on
// nodes with a taint of the effect NoExecute that they do not tolerate (nodeShouldRunDaemonPod in
// pkg/controller/daemon/daemon_controller.go). nil: it does not.
func (l *loss) expelled(p *cluster.Pod) *deletion {
	if _, off := l.p.off(daemonSets); off || p.Mirror() || !p.DaemonSet() || !p.Controllers[0].Found || p.Controllers[0].Deleting {
		return nil
	}
	x := l.patienceOf(p, foreignTaints(p.Host))
	if !x.against {
		return nil
	}
	return &deletion{at: &Moment{}, patience: x.seconds, why: x.why + ", and its DaemonSet deletes it"}
}

// outwait is for a pod of an old server, which has no taint manager.
func (l *loss) outwait(s *schedule, phases []phase) (left, dropped *schedule, by *phase) {
	for i := range phases {
		if ph := &phases[i]; ph.over && ph.at.At < s.due.At {
			return nil, s, ph
		}
	}
	return s, nil, nil
}

// inTime is for a pod that would have been deleted, if its node was not back before.
func (l *loss) inTime(p *cluster.Pod, s *schedule) deletion {
	return deletion{
		fate: FateRestarts, patience: s.seconds, close: l.closeTo(s, p),
		why: fmt.Sprintf("%s, until %s, and %s is back before that", s.why, clockTime(s.due.At), p.Host.Name),
	}
}

// closeTo tells whether the deletion and the return of the node, which takes it back, are so
// near each other that it may come the other way.
func (l *loss) closeTo(s *schedule, p *cluster.Pod) bool {
	return s.due.Earliest < l.returns+l.p.MonitorPeriod.Value.Seconds() && s.due.Latest > l.returns &&
		(l.p.EvictionTimeout != nil || l.patienceOf(p, foreignTaints(p.Host)).seconds == nil)
}

// byChance tells whether a pod of a node that may be tainted or not is deleted only in one
// of both cases; d is what becomes of it in that which is told.
func (l *loss) byChance(p *cluster.Pod, c *clock, d *deletion) bool {
	if p.DeletionTimestamp != nil || l.halted != "" {
		return false
	}
	other := *c
	other.removed, other.tainted = never, nil
	if d.at == nil {
		other.tainted = cmp.Or(c.tainted, c.unknown)
	}
	otherwise := l.deletion(p, &other, l.phases(l.byName[p.Host.Name], &other))
	return (otherwise.at == nil) != (d.at == nil)
}

// kept is for a pod of a node that is not tainted.
func (l *loss) kept(x patience, why string) deletion {
	if l.returns < never {
		return deletion{fate: FateRestarts, patience: x.seconds, why: why}
	}
	return deletion{fate: FateStays, patience: x.seconds, why: why}
}

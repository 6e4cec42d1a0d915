// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/placement"
)

// loss is the loss of some nodes, as it is worked out.
type loss struct {
	*ground
	lost    []int // sorted
	names   map[string]bool
	heard   map[string]time.Time
	returns float64 // never: for ever
	halted  string
	clocks  []clock // of the lost nodes
	modes   []Zone  // by zone; those without a lost node have no Mode
	queues  []bool  // zones in which more than one node waits for its taint
	all     bool    // no zone has a node left
	nowhere map[placement.Class][]string
}

// clock is what happens to a lost node when.
type clock struct {
	unknown   *Moment
	tainted   *Moment
	untainted string
	// before is when the taint not-ready was set that the node has already: its
	// tolerations go on counting from there.
	before *float64
	// removed is when the taint is taken away again, because all zones are lost.
	removed float64
}

func (m Moment) plus(seconds float64) Moment {
	return Moment{max(0, m.At+seconds), max(0, m.Earliest+seconds), max(0, m.Latest+seconds)}
}

// since is a time of the cluster in seconds since the loss.
func (l *loss) since(t time.Time) float64 { return t.Sub(l.s.Time).Seconds() }

// tell works out when the nodes become known and are tainted.
func (l *loss) tell() {
	l.clocks = make([]clock, len(l.lost))
	l.modes = make([]Zone, len(l.zones))
	l.queues = make([]bool, len(l.zones))
	for i, z := range l.zones {
		l.modes[i] = Zone{Name: z.name, Nodes: z.nodes, Unready: z.unready}
	}
	inZone := map[int][]int{}
	for i, node := range l.lost {
		c, z := &l.clocks[i], l.zoneOf[node]
		c.removed = never
		at := l.unknown(l.s.Nodes[node])
		if at.At >= l.returns+l.p.MonitorPeriod.Value.Seconds()/2 {
			c.untainted = "it is back before its silence is noticed"
			continue
		}
		c.unknown = &at
		inZone[z] = append(inZone[z], i)
		if !l.unready[node] && !excluded(l.s.Nodes[node].Node) {
			l.modes[z].Unready++
		}
	}
	l.all = true
	for i := range l.modes {
		l.all = l.all && (l.modes[i].Nodes == 0 || l.modes[i].Unready == l.modes[i].Nodes)
	}
	for z := range l.zones {
		l.taint(z, inZone[z])
	}
}

// unknown is when a node becomes Unknown (tryUpdateNodeHealth in
// node_lifecycle_controller.go). The controller looks at all nodes once in a
// monitor period. It dates a renewal of the lease by the look at which it sees it
// first, up to one period late, and finds the lease silent for too long at the first
// look after the grace period from there on.
func (l *loss) unknown(n *cluster.Node) Moment {
	if c := readyCondition(n.Node); c != nil && c.Status == corev1.ConditionUnknown {
		return Moment{}
	}
	period := l.p.MonitorPeriod.Value.Seconds()
	grace := math.Ceil(l.p.GracePeriod.Value.Seconds()/period-1e-9) * period
	first, last := -l.p.LeaseRenewal.Value.Seconds(), 0.0 // when the lease was renewed
	if heard, known := l.heard[n.Name]; known {
		first = min(0, l.since(heard))
		last = first
	}
	return Moment{Earliest: first, Latest: last + period, At: (first + last + period) / 2}.plus(grace)
}

func readyCondition(n *corev1.Node) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c
		}
	}
	return nil
}

// taint sends the lost nodes of a zone through its queue.
func (l *loss) taint(z int, members []int) {
	mode := &l.modes[z]
	q := newQueue(&l.p, mode.Nodes, mode.Unready)
	mode.Mode = q.mode()
	mode.Rate = q.rateIn(mode.Mode)
	if l.all {
		mode.Mode, mode.Rate = ModeAll, 0
	}
	var waiting []int
	for _, i := range members {
		if !l.tainted(i) {
			waiting = append(waiting, i)
		}
	}
	slices.SortStableFunc(waiting, func(a, b int) int { return cmp.Compare(l.clocks[a].unknown.At, l.clocks[b].unknown.At) })
	known, counted := make([]float64, len(waiting)), make([]bool, len(waiting))
	delay := 0.0
	if l.p.EvictionTimeout != nil { // a queue of nodes whose pods are deleted
		delay = l.p.EvictionTimeout.Value.Seconds()
	}
	for k, i := range waiting {
		node := l.lost[i]
		known[k] = l.clocks[i].unknown.At + delay
		counted[k] = !l.unready[node] && !excluded(l.s.Nodes[node].Node)
	}
	l.queues[z] = len(waiting) > 1
	times := newQueue(&l.p, mode.Nodes, l.zones[z].unready).pass(known, counted)
	last := 0.0
	for _, at := range times {
		if !math.IsInf(at, 1) {
			last = max(last, at)
		}
	}
	for k, i := range waiting {
		c := &l.clocks[i]
		if math.IsInf(times[k], 1) {
			c.untainted = l.why(mode)
			continue
		}
		// Which of those that wait is next is a matter of chance: they are put into
		// the queue anew at every look, several at a time.
		spread := c.unknown.Latest - c.unknown.At
		c.tainted = &Moment{At: times[k], Earliest: c.unknown.Earliest + delay, Latest: last + spread}
	}
	l.relent(mode, members)
}

// tainted tells whether a node has its taint already, from which it then counts.
func (l *loss) tainted(i int) bool {
	c := &l.clocks[i]
	for _, t := range l.s.Nodes[l.lost[i]].Spec.Taints {
		if t.Effect != corev1.TaintEffectNoExecute || t.Key != corev1.TaintNodeUnreachable && t.Key != corev1.TaintNodeNotReady || t.TimeAdded == nil {
			continue
		}
		since := l.since(t.TimeAdded.Time)
		if t.Key == corev1.TaintNodeNotReady { // exchanged for the other one, without waiting
			c.before = &since
			c.tainted = ptr.To(*c.unknown)
		} else {
			c.tainted = &Moment{since, since, since}
		}
		return true
	}
	return false
}

// relent takes the taints away again if all zones are lost (handleDisruption).
func (l *loss) relent(mode *Zone, members []int) {
	if mode.Mode != ModeAll {
		return
	}
	last := 0.0
	for i := range l.clocks {
		if c := l.clocks[i].unknown; c != nil {
			last = max(last, c.At)
		}
	}
	for _, i := range members {
		c := &l.clocks[i]
		c.untainted, c.removed = l.why(mode), last
		if c.tainted != nil && c.tainted.At > last {
			c.tainted = nil
		}
	}
}

// why says why nodes of a zone are not tainted.
func (l *loss) why(mode *Zone) string {
	zone := "the zone " + mode.Name
	if mode.Name == "" {
		zone = "the cluster, which has no zones,"
	}
	switch {
	case mode.Mode == ModeAll:
		return "no node of the cluster is Ready any more, so no pod is evicted: it is rather the control plane that is cut off"
	case mode.Mode == ModePartial:
		return fmt.Sprintf("%d of %s of %s are not Ready, which is a partial disruption; in a zone of up to %s (--%s) no pod is evicted then",
			mode.Unready, phrase.Count(mode.Nodes, "node"), zone, phrase.Count(l.p.LargeZone.Value, "node"), flagLargeZone)
	}
	return fmt.Sprintf("nodes of %s are tainted at a rate of %g per second, which is none", zone, mode.Rate)
}

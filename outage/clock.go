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
	heard   map[string]Renewal
	quotas  []corev1.ResourceQuota
	returns float64 // never: for ever
	halted  string
	// unscheduled: nobody is left to find nodes for new pods.
	unscheduled bool
	clocks      []clock // of the lost nodes
	modes       []Zone  // by zone; those without a lost node have no Mode
	looks       []look  // that find lost nodes silent, in their order
	stuck       []bool  // zones in which nobody is tainted any more because of their rate: see swap
	spared      []int   // by zone, how many keep their taint although all zones are lost
	late        float64 // how much later than they are due some pods are deleted
	slow        float64 // how much later a node may be found silent because of the pods of others
	queues      []bool  // zones in which more than one node waits for its taint
	all         bool    // no zone has a node left
	nowhere     map[placement.Class][]string
}

// clock is what happens to a lost node when.
type clock struct {
	unknown   *Moment
	tainted   *Moment
	untainted string
	// before: the node has the taint not-ready already, which is exchanged for the other
	// one, without waiting.
	before bool
	// removed is when the taint is taken away again, because all zones are lost.
	removed float64
	// maybe: whether it is tainted is chance.
	maybe bool
}

func compareAt(a, b *Moment) int { return cmp.Compare(a.At, b.At) }

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
	l.stuck = make([]bool, len(l.zones))
	l.spared = make([]int, len(l.zones))
	for i, z := range l.zones {
		l.modes[i] = Zone{Name: z.name, Nodes: z.nodes, Unready: z.unready}
	}
	inZone := map[int][]int{}
	for i, node := range l.lost {
		c, z := &l.clocks[i], l.zoneOf[node]
		c.removed = never
		at := l.unknown(l.s.Nodes[node])
		if why, off := l.p.off(nodeLifecycle); off {
			l.unwatched(i, &at, why)
			continue
		}
		if at.At >= l.returns+l.p.MonitorPeriod.Value.Seconds()/2 {
			c.untainted = "the node is back before its silence is noticed"
			c.before = l.notReadyBefore(node)
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
	l.lookAll()
	for z := range l.zones {
		l.taint(z, inZone[z])
	}
}

// unwatched is for a node after which nobody looks: it stays what it is.
func (l *loss) unwatched(i int, unknown *Moment, why string) {
	c, node := &l.clocks[i], l.lost[i]
	c.untainted = why
	if !cluster.Lost(l.s.Nodes[node].Node) {
		return
	}
	// Nobody exchanges the taint of a node that was not Ready for that of a silent one.
	if c.unknown = unknown; !l.tainted(i) || c.before {
		c.tainted, c.before = nil, false
	}
}

// unknown is when a node becomes Unknown (tryUpdateNodeHealth in
// node_lifecycle_controller.go). The controller looks at all nodes once in a
// monitor period. It dates a renewal of the lease by the look at which it sees it
// first, up to one period late, and finds the lease silent for too long at the first
// look after the grace period from there on.
func (l *loss) unknown(n *cluster.Node) Moment {
	if cluster.Lost(n.Node) {
		since := 0.0
		if c := readyCondition(n.Node); !c.LastTransitionTime.IsZero() {
			since = min(0, l.since(c.LastTransitionTime.Time))
		}
		return Moment{since, since, since}
	}
	period := l.p.MonitorPeriod.Value.Seconds()
	grace := math.Ceil(l.p.GracePeriod.Value.Seconds()/period-1e-9) * period
	first, last := -l.p.LeaseRenewal.Value.Seconds(), 0.0 // when the lease was renewed
	renewed := (first + last) / 2
	if heard, known := l.heard[n.Name]; known {
		first, last, renewed = min(0, l.since(heard.Earliest)), min(0, l.since(heard.Latest)), min(0, l.since(heard.At))
	}
	m := Moment{Earliest: first, Latest: last + period, At: renewed + period/2}.plus(grace)
	if l.plane.leaderless(l.names) {
		m.Latest = max(m.Latest, takeover+period+grace)
	}
	return m
}

// silentSince is since when a node has been silent that missed a renewal of its lease, or is
// Unknown; nil: it is not.
func (l *loss) silentSince(node int) *float64 {
	n := l.s.Nodes[node]
	if heard, known := l.heard[n.Name]; known {
		if since := l.since(heard.At); since < -missed*l.p.LeaseRenewal.Value.Seconds() || cluster.Lost(n.Node) {
			return &since
		}
		return nil
	}
	if c := readyCondition(n.Node); cluster.Lost(n.Node) && !c.LastTransitionTime.IsZero() {
		if since := l.since(c.LastTransitionTime.Time); since < 0 {
			return &since
		}
	}
	return nil
}

// takeover is how long it takes at the most until another leader has read everything and
// counts the silence of all nodes from there on, as if it had just heard of them: 15 s for
// the lease of the old one, 2 s to try again (leader election in
// k8s.io/component-base/config/v1alpha1/defaults.go), and some to begin.
const takeover = 20

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
	if _, off := l.p.off(nodeLifecycle); off {
		mode.Mode, mode.Rate = ModeNormal, 0
		return
	}
	var waiting []int
	for _, i := range members {
		if !l.tainted(i) {
			waiting = append(waiting, i)
		}
	}
	slices.SortStableFunc(waiting, func(a, b int) int { return compareAt(l.clocks[a].unknown, l.clocks[b].unknown) })
	known := make([]float64, len(waiting))
	delay := 0.0
	if l.p.EvictionTimeout != nil { // a queue of nodes whose pods are deleted
		delay = l.p.EvictionTimeout.Value.Seconds()
	}
	for k, i := range waiting {
		known[k] = max(0, l.clocks[i].unknown.At+delay) // it has not been its turn yet
	}
	l.queues[z] = len(waiting) > 1
	q = newQueue(&l.p, mode.Nodes, l.zones[z].unready)
	times := q.pass(known, l.verdicts(z))
	if l.stuck[z] = q.stuck; q.stuck && !l.all {
		mode.Rate = 0
	}
	last := math.Inf(-1)
	for _, at := range times {
		if !math.IsInf(at, 1) {
			last = max(last, at)
		}
	}
	for k, i := range waiting {
		c := &l.clocks[i]
		if math.IsInf(times[k], 1) {
			c.untainted = l.why(mode, z)
			continue
		}
		// Which of those that wait is next is a matter of chance: they are put into
		// the queue anew at every look, several at a time.
		spread := c.unknown.Latest - c.unknown.At
		c.tainted = &Moment{At: times[k], Earliest: max(0, c.unknown.Earliest+delay), Latest: last + spread}
	}
	l.relent(mode, z, members)
	l.doubt(mode, z, waiting, last)
}

// doubt marks the nodes of a zone of which some may be tainted, and others not, by chance:
// the evictions stop on the way, after the one at last; or never began, but for a first node.
func (l *loss) doubt(mode *Zone, z int, waiting []int, last float64) {
	stops := len(waiting) > 1 && !math.IsInf(last, -1) && !l.stuck[z] && mode.Rate == 0 && (mode.Mode == ModeAll || mode.Mode == ModePartial)
	never := l.p.EvictionRate.Value == 0 && mode.Mode != ModeAll
	for _, i := range waiting {
		l.clocks[i].maybe = l.halted == "" && (stops || never)
		mode.Maybe = mode.Maybe || l.clocks[i].maybe
	}
}

// verdicts are when the mode of a zone may change: at the end of each look that finds
// nodes silent that count for it. With the last node of all zones everything stops.
func (l *loss) verdicts(z int) []verdict {
	var list []verdict
	for k := range l.looks {
		v := verdict{at: l.looks[k].end, stop: l.all && k == len(l.looks)-1}
		for _, i := range l.looks[k].found {
			if node := l.lost[i]; l.zoneOf[node] == z && !l.unready[node] && !excluded(l.s.Nodes[node].Node) {
				v.found++
			}
		}
		list = append(list, v)
	}
	return list
}

// tainted tells whether a node has its taint already, from which it then counts. A new
// leader counts from when it begins.
func (l *loss) tainted(i int) bool {
	c, node := &l.clocks[i], l.lost[i]
	n := l.s.Nodes[node]
	if l.p.EvictionTimeout != nil {
		return false // nobody looks at taints: pods have as long as that, from when it is Unknown
	}
	if k := slices.IndexFunc(n.Spec.Taints, saysUnreachable); k >= 0 && cluster.Lost(n.Node) {
		since := l.taintedSince(&n.Spec.Taints[k])
		if math.IsInf(since, -1) {
			since = min(0, c.unknown.At) // it was not before that
		}
		c.tainted = &Moment{since, since, since}
		if l.plane.leaderless(l.names) {
			c.tainted.Latest = max(since, takeover)
		}
		return true
	}
	if c.before = l.notReadyBefore(node); c.before {
		c.tainted = ptr.To(c.unknown.plus(0))
	}
	return c.before
}

// notReadyBefore tells whether a node that is not silent yet has the taint of one that says
// that it is not Ready, or is about to have it instead of the other one.
func (l *loss) notReadyBefore(node int) bool {
	return slices.ContainsFunc(l.standingTaints(node), func(t corev1.Taint) bool { return ofHealth(&t) })
}

// relent takes the taints away again if all zones are lost (handleDisruption). It goes by
// the list of nodes that was made before the last look, and RemoveTaintOffNode
// (pkg/controller/controller_utils.go) leaves alone what has no taint in that: whoever is
// tainted during that look keeps it. The first taint of a zone is there from its
// beginning on, and taken for one of those before it.
func (l *loss) relent(mode *Zone, z int, members []int) {
	if mode.Mode != ModeAll || len(l.looks) == 0 {
		return
	}
	last := l.looks[len(l.looks)-1]
	for _, i := range members {
		c := &l.clocks[i]
		if c.tainted != nil && c.tainted.At > last.start && !c.before {
			l.spared[z]++
			continue
		}
		if c.tainted != nil && c.tainted.At > last.end {
			c.tainted = nil
		}
		c.untainted, c.removed = l.why(mode, z), last.end
	}
}

// why says why nodes of a zone are not tainted.
func (l *loss) why(mode *Zone, z int) string {
	zone := "the zone " + mode.Name
	switch {
	case mode.Name == "" && len(l.zones) > 1:
		zone = "those without a zone"
	case mode.Name == "":
		zone = "the cluster, which has no zones,"
	}
	switch {
	case mode.Mode == ModeAll:
		return "no node of the cluster is Ready any more, so no pod is evicted: it is rather the control plane that is cut off"
	case mode.Mode == ModePartial:
		return fmt.Sprintf("%d of %s of %s are not Ready, which is a partial disruption; in a zone of up to %s (--%s) no pod is evicted then",
			mode.Unready, phrase.Count(mode.Nodes, "node"), zone, phrase.Count(l.p.LargeZone.Value, "node"), flagLargeZone)
	case l.stuck[z]:
		return fmt.Sprintf("the evictions of %s stop while a part of it is not Ready, and with a rate of exactly 1 (--%s) they do not begin again", zone, flagEvictionRate)
	}
	return fmt.Sprintf("nodes of %s are tainted at a rate of %g per second, which is none", zone, mode.Rate)
}

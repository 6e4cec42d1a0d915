// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"container/heap"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// bucket is what holds back the calls of a controller's client: a token bucket of which
// whoever comes first is served first (NewTokenBucketRateLimiter in
// k8s.io/client-go/util/flowcontrol/throttle.go). Each controller has its own, with the
// same settings (newNodeLifecycleController and newTaintEvictionController in
// cmd/kube-controller-manager/app/core.go).
type bucket struct {
	rate, burst float64 // rate 0: no limit
	tokens      float64
	at          float64
}

func newBucket(p *Parameters) bucket {
	b := bucket{rate: p.ClientRate.Value, burst: float64(p.ClientBurst.Value), at: math.Inf(-1)}
	switch {
	case b.rate < 0:
		b.rate = 0
	case b.rate == 0: // no rate is that of package rest of client-go
		b.rate, b.burst = 5, 10
	}
	b.tokens = b.burst
	return b
}

// take returns when n calls have been made that are asked for at that time, which is not
// before that of an earlier one.
func (b *bucket) take(at, n float64) float64 {
	if b.rate <= 0 {
		return at
	}
	if at > b.at {
		b.tokens = min(b.burst, b.tokens+(at-b.at)*b.rate)
		b.at = at
	}
	b.tokens -= n
	return b.at + max(0, -b.tokens)/b.rate
}

const (
	// callsPerNode are those by which a node becomes Unknown and is tainted: its lease is
	// read again, its status written, and it is read and patched for each of two taints
	// (tryUpdateNodeHealth in node_lifecycle_controller.go, SwapNodeControllerTaint in
	// pkg/controller/util/node/controller_utils.go).
	callsPerNode = 6
	// callsPerUnready are those by which a pod becomes not Ready: its status is written,
	// and an event (MarkPodsNotReady in the same file). All events are written one after the
	// other, and nobody waits for them: see busyFor.
	callsPerUnready = 2
	// callsPerDeletion are those by which a pod is deleted: it is read, its status is
	// patched, and it is deleted (addConditionAndDeletePod in
	// pkg/controller/tainteviction/taint_eviction.go), each when the one before is done.
	callsPerDeletion = 3
	// withEvents is how much longer the deletions may take because their events are
	// written by the same client, one after the other.
	withEvents = 4.0 / 3
	// lookers are how many nodes are looked at at the same time (nodeUpdateWorkerSize in
	// node_lifecycle_controller.go).
	lookers = 8
)

// look is one at all nodes, which finds some of the lost ones silent (monitorNodeHealth in
// node_lifecycle_controller.go). It ends when all their pods are not Ready, and what
// becomes of the zones is decided only then.
type look struct {
	start, end float64
	found      []int // by clock
}

// lookAll works out the looks that find lost nodes silent, and when each node becomes
// Unknown: one that is not found by the first look may have to wait until that is over,
// and so may one for which the look has no hand free.
func (l *loss) lookAll() {
	var order []int
	total := 0.0
	for i := range l.clocks {
		if l.clocks[i].unknown != nil {
			order = append(order, i)
			total += l.callsFor(i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareAt(l.clocks[a].unknown, l.clocks[b].unknown) })
	b := newBucket(&l.p)
	period := l.p.MonitorPeriod.Value.Seconds()
	for k := 0; k < len(order); {
		start := l.clocks[order[k]].unknown.At
		if n := len(l.looks); n > 0 && start <= l.looks[n-1].end {
			start = l.looks[n-1].end + period
		}
		x := look{start: start, end: start}
		together := 0
		for ; k < len(order) && l.clocks[order[k]].unknown.At <= start; k++ {
			x.found = append(x.found, order[k])
			together += min(1, int(l.callsFor(order[k])))
		}
		begins := start // of those that are looked at at the same time
		for n, i := range x.found {
			if n > 0 && n%lookers == 0 {
				begins = x.end
			}
			own := l.callsFor(i)
			if own == 0 {
				continue
			}
			c := l.clocks[i].unknown
			latest := c.Latest
			c.At = max(c.At, begins)
			c.Latest = max(latest+waitFor(&l.p, total-own), c.At)
			l.slow = max(l.slow, c.Latest-latest)
			x.end = max(x.end, milli(b.take(start, busyFor(own, together))))
		}
		l.looks = append(l.looks, x)
	}
}

// waitFor is how long so many calls take after a rest.
func waitFor(p *Parameters, calls float64) float64 {
	b := newBucket(p)
	return b.take(0, calls)
}

// callsFor are those that are made when a node is found silent; none for one that was before.
func (l *loss) callsFor(i int) float64 {
	n := l.s.Nodes[l.lost[i]]
	if c := readyCondition(n.Node); c != nil && c.Status == corev1.ConditionUnknown {
		return 0
	}
	calls := float64(callsPerNode)
	for _, p := range n.Pods {
		if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			calls += callsPerUnready
		}
	}
	return calls
}

// busyFor is for how many of these calls of one node a look has to wait, at so many nodes
// together: the one that writes events gets its turn like each of those that look at nodes,
// and the look is over without it. Of a node by itself that is one event for each pod, of
// four at a time one for four.
func busyFor(calls float64, together int) float64 {
	pods := (calls - callsPerNode) / callsPerUnready
	return callsPerNode + pods + pods/float64(min(together, lookers))
}

// milli leaves out what is less than a millisecond.
func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// call is the next of a pod that is being deleted.
type call struct {
	at   float64
	turn int // who comes first of those that come at the same time
	pod  int // in the list
	left int // calls to make
}

type calls []call

func (c calls) Len() int { return len(c) }
func (c calls) Less(i, j int) bool {
	return c[i].at < c[j].at || c[i].at == c[j].at && c[i].turn < c[j].turn
}
func (c calls) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

// Push is for package heap.
func (c *calls) Push(x any) { *c = append(*c, x.(call)) }

// Pop is for package heap.
func (c *calls) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// holdBack has the deletions that are due, which come in their order, wait for each other.
// All begin when they are due, and whoever has made a call waits for the next one behind
// all others: of many that are due at once the first is done when two thirds of the calls
// have been made.
func (l *loss) holdBack(list []judged) {
	var due []int
	for i := range list {
		if w := &list[i].when; w.at != nil && list[i].pod.DeletionTimestamp == nil {
			due = append(due, i)
		}
	}
	b, waiting, turn := newBucket(&l.p), calls{}, 0
	if b.rate <= 0 || float64(len(due)*callsPerDeletion) <= b.burst {
		return
	}
	done := make([]float64, len(list))
	for next := 0; next < len(due) || len(waiting) > 0; turn++ {
		if next < len(due) && (len(waiting) == 0 || list[due[next]].when.at.At <= waiting[0].at) {
			heap.Push(&waiting, call{list[due[next]].when.at.At, turn, due[next], callsPerDeletion})
			next++
			continue
		}
		c := heap.Pop(&waiting).(call) //nolint:forcetypeassert // there is nothing else in it
		c.at, c.turn, c.left = b.take(c.at, 1), turn, c.left-1
		if c.left > 0 {
			heap.Push(&waiting, c)
			continue
		}
		done[c.pod] = c.at
	}
	l.postpone(list, due, done)
}

// postpone writes down what is late. How late a pod is at the most is the same for all that
// are due before the queue is empty again: who comes first is chance. So those that are due
// together are expected in the middle of them all, from which none is as far away as the
// first one is from the last.
func (l *loss) postpone(list []judged, due []int, done []float64) {
	for from := 0; from < len(due); {
		to, busy, latest := from, math.Inf(-1), 0.0
		for to < len(due) && (to == from || list[due[to]].when.at.At <= busy) {
			busy = max(busy, done[due[to]])
			latest = max(latest, done[due[to]]-list[due[to]].when.at.At)
			to++
		}
		l.late = max(l.late, latest)
		if latest >= 1 { // less than the server writes down
			for first := from; first < to; {
				after := first + 1
				for after < to && list[due[after]].when.at.At-list[due[after-1]].when.at.At < 1 {
					after++
				}
				middle := 0.0
				for _, i := range due[first:after] {
					middle += done[i] / float64(after-first)
				}
				for _, i := range due[first:after] {
					m := *list[i].when.at
					m.At = max(m.At, milli(middle))
					m.Latest = max(m.At, m.Latest+latest*withEvents)
					list[i].when.at = &m
				}
				first = after
			}
		}
		from = to
	}
}

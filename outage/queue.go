// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import "math"

// never is the time of what does not happen.
var never = math.Inf(1)

// queue is the rate-limited queue in which the nodes of a zone wait for their
// taint (zoneNoExecuteTainter in node_lifecycle_controller.go, RateLimitedTimedQueue
// in nodelifecycle/scheduler/rate_limited_queue.go). It is a token bucket with room
// for one token: the first node goes through at once.
type queue struct {
	p *Parameters
	// size of the zone, unready how many of it are not Ready by now.
	size, unready int
	rate          float64
	next          float64 // when there is a token again
	// stuck: it has no tokens any more, whatever its rate is to be.
	stuck bool
}

func newQueue(p *Parameters, size, unready int) *queue {
	q := &queue{p: p, size: size, unready: unready, next: math.Inf(-1)}
	q.rate = q.rateIn(q.mode())
	if q.rate <= 0 {
		q.next = never
	}
	return q
}

// mode is ComputeZoneState of node_lifecycle_controller.go.
func (q *queue) mode() Mode {
	switch {
	case q.unready >= q.size && q.unready > 0:
		return ModeFull
	case q.unready > 2 && float64(q.unready)/float64(q.size) >= q.p.UnhealthyZone.Value:
		return ModePartial
	}
	return ModeNormal
}

// rateIn is setLimiterInZone with HealthyQPSFunc and ReducedQPSFunc.
func (q *queue) rateIn(m Mode) float64 {
	if m != ModePartial {
		return q.p.EvictionRate.Value
	}
	if q.size > q.p.LargeZone.Value {
		return q.p.SecondaryRate.Value
	}
	return 0
}

// verdict is the end of a look at all nodes, which found some more of the zone silent.
type verdict struct {
	at    float64
	found int
	// stop: all zones are lost, and no node is tainted any more.
	stop bool
}

// pass takes when it becomes known of each node that it is not Ready, and the ends of
// the looks, both in their order, and returns when each node is tainted.
func (q *queue) pass(known []float64, verdicts []verdict) []float64 {
	tainted := make([]float64, len(known))
	for i := range tainted {
		tainted[i] = never
	}
	waiting := 0 // the first that waits
	serve := func(until float64) {
		for waiting < len(known) {
			at := max(q.next, known[waiting])
			if at > until || math.IsInf(at, 1) {
				return
			}
			tainted[waiting] = at
			q.next = at + 1/q.rate
			waiting++
		}
	}
	for _, v := range verdicts {
		// The tainter looks every 100 ms, and the mode changes only at the end of a
		// look at all nodes: a node for which there is a token gets its taint first.
		serve(v.at)
		q.unready += v.found
		if v.stop {
			return tainted
		}
		q.swap(v.at, q.rateIn(q.mode()))
	}
	serve(never)
	return tainted
}

// swap is SwapLimiter: the new bucket is as empty as the old one was. One that never has
// tokens says that its rate is 1 (fakeNeverRateLimiter in
// k8s.io/client-go/util/flowcontrol/throttle.go), so that it is not swapped for one whose
// rate is that.
func (q *queue) swap(at, rate float64) {
	if rate == q.rate {
		return
	}
	if q.stuck = q.rate <= 0 && rate == 1; q.stuck {
		return
	}
	full := q.rate > 0 && q.next <= at
	q.rate = rate
	switch {
	case rate <= 0:
		q.next = never
	case full:
		q.next = at
	default:
		q.next = at + 1/rate
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/event"
)

// requestTimeout bounds one request. The API server itself works on an eviction
// for ten seconds at most (twenty attempts, half a second apart).
const requestTimeout = time.Minute

// answered is the answer to one request.
type answered struct {
	pod *podDrain
	era int // of the limiter, when the request was sent
	answer
	err error
}

// send asks for a pod's eviction, in a goroutine of its own.
func (d *Drainer) send(p *podDrain) {
	p.stage = asking
	p.askedPod, p.askedBudget = p.pod.ResourceVersion, ""
	if len(p.budgets) == 1 {
		p.askedBudget = d.gate(p.budgets[0]).version()
	}
	d.inFlight++
	pod, era := p.pod, d.limiter.halved
	options := EvictOptions{GracePeriod: d.options.GracePeriod}
	go func() {
		ctx, cancel := context.WithTimeout(p.node.ctx, requestTimeout)
		defer cancel()
		err := d.evictor.Evict(ctx, pod, options)
		d.answers <- answered{p, era, classify(err), err}
	}()
}

// answered takes in the answer to a request.
func (d *Drainer) answered(a answered) {
	p := a.pod
	d.inFlight--
	via := p.passed
	if via != nil {
		via.passed--
		p.passed = nil
		if len(via.waiting) > 0 {
			d.probeLater(via)
		}
	}
	if a.verdict == throttled {
		d.limiter.throttled(a.era, d.clock.Now(), a.retryAfter)
		d.alarms.set(d.limiter.pausedUntil, func() {})
	} else {
		d.limiter.answered()
	}
	if a.verdict == accepted && via != nil && !p.gone {
		via.charged[types.UID(p.name.UID)] = charge{pod: p, version: p.askedBudget}
		via.settle()
	}
	if p.doubt(a.verdict); !a.departs() {
		d.stay(p)
	}
	if a.verdict != forbidden {
		d.answering = true
		p.denied = 0
	}
	if p.node.ended {
		d.abandon(p)
		return
	}
	d.unclear[p] = true
	if a.verdict == accepted {
		p.evictedAt = d.clock.Now()
		d.tell(event.Event{Type: event.PodEvicted, Node: p.node.name, Pod: &p.name})
	}
	switch {
	case p.gone:
		d.hasLeft(p)
	case a.departs():
		p.stage = leaving // the watch will tell when it has left
		d.watchOver(p)
	case a.verdict == forbidden && d.forGood(p):
		p.refusal, p.stage = a.answer, resting
		d.end(p.node, mayNot(p.name, p.node.name, a.err))
	default:
		p.refusal = a.answer
		d.refused(p, via)
	}
}

// forGood counts a refusal for want of a permission, and tells whether to believe it.
func (d *Drainer) forGood(p *podDrain) bool {
	p.denied++
	return !d.answering || p.denied >= deniedPatience
}

// refused puts a pod whose eviction was refused where it has to wait.
func (d *Drainer) refused(p *podDrain, via *gate) {
	askedBudget := p.askedBudget
	if v := p.refusal.verdict; v != budgetSaysNo && v != budgetUnobserved {
		// The answer was about neither: the same question may get another one.
		p.askedPod, p.askedBudget = "", ""
	}
	// Budgets that came, went or changed meanwhile passed by a pod that was being asked for.
	p.budgets = d.budgetsOf(p.pod)
	switch p.refusal.verdict {
	case throttled:
		d.place(p)
	case twoBudgets:
		if len(p.budgets) < 2 {
			d.rest(p) // the cache does not know the other one yet
			return
		}
		d.place(p)
	case budgetSaysNo, budgetUnobserved:
		if len(p.budgets) != 1 {
			d.rest(p) // the cache does not know it yet
			return
		}
		// "Still being processed" may be about an unready pod that changed, and
		// then says nothing about the others.
		if g := d.gate(p.budgets[0]); via == g || p.refusal.verdict == budgetSaysNo {
			g.close(askedBudget, p.refusal)
		}
		d.place(p)
	default:
		d.rest(p)
	}
}

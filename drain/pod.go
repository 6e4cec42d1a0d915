// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// stage is where a pod stands on its way out.
type stage int

const (
	held      stage = iota // critical: waits for the other pods of its node
	queued                 // will be asked for as soon as there is room for one more request
	gated                  // waits for its budget
	mustering              // waits for the other members of its quorum set
	stuck                  // has more than one budget, and the server said that it will not
	resting                // was refused for another reason; asked for again later
	asking                 // a request is under way
	leaving                // deleted; terminating or about to
	left                   // gone for good
	barred                 // came late, and may not be evicted under the options
)

// podDrain is a pod that has to leave.
type podDrain struct {
	name        event.Pod
	node        *nodeDrain
	pod         *corev1.Pod // as last seen
	controllers []*cluster.Workload
	volumes     []string // persistent volumes
	budgets     []types.NamespacedName

	stage  stage
	gone   bool  // the cache has no such pod any more
	passed *gate // which counts the pod as under way
	// probing: it passed although its budget allows nothing, see probe.
	probing bool
	// quorum is the one at which it waits, or from which it departed.
	quorum *quorum
	// expelled: the taint of its node has it deleted; nobody asks for it.
	expelled bool
	// unsure: it may have been evicted by a request that got no answer to the point.
	unsure bool

	evictedAt time.Time // zero: not evicted by this drain
	refusal   answer    // the last one
	refused   int       // how often in a row for reasons other than budgets
	denied    int       // how often in a row for want of a permission
	barredBy  string
	// What the cache had when the server was last asked: the pod's version and its budget's.
	askedPod, askedBudget string
	told                  *event.Blocker // what was last emitted, and when
	toldAt                time.Time
	retelling             bool // it will be emitted again in a moment
}

const (
	// firstRest and lastRest bound the pauses after refusals that nothing in the
	// cluster will announce the end of.
	firstRest = time.Second
	lastRest  = 30 * time.Second
	// slowRetry is when a pod that waits for an announcement is tried all the same.
	slowRetry = 30 * time.Second
	// deniedPatience is how often in a row a permission has to be missing before
	// that is believed of a server that had let evictions through: one that starts
	// does not know its roles yet, for a few seconds. With the pauses between the
	// attempts it is 15 s, about what package cluster allows a watch.
	deniedPatience = 5
)

// departed tells whether the cache knows that the pod is on its way out.
func (p *podDrain) departed() bool { return p.gone || p.pod.DeletionTimestamp != nil }

// waits tells whether the pod has yet to be asked for.
func (p *podDrain) waits() bool {
	return slices.Contains([]stage{held, queued, gated, mustering, stuck, resting}, p.stage)
}

// podChanged takes in a change of a pod, of a node that is being drained or not.
func (d *Drainer) podChanged(c cluster.Change) {
	now := d.watcher.Pod(c.Namespace, c.Name)
	if p := d.pods[c.UID]; p != nil {
		if now != nil && now.UID == c.UID {
			d.updated(p, now)
		} else {
			d.disappeared(p)
		}
	}
	if now == nil {
		return
	}
	if n := d.nodes[now.Spec.NodeName]; n != nil && d.pods[now.UID] == nil {
		d.cameLate(n, now)
	}
	for _, g := range d.gates {
		if len(g.waiting) > 0 {
			g.stir(now, d.clock.Now())
		}
	}
}

func (d *Drainer) updated(p *podDrain, now *corev1.Pod) {
	before := p.pod
	p.pod = now
	d.unclear[p] = true
	if before.DeletionTimestamp == nil && now.DeletionTimestamp != nil {
		d.expelledNow(p)
	}
	if now.DeletionTimestamp != nil && (before.DeletionTimestamp == nil || !before.DeletionTimestamp.Equal(now.DeletionTimestamp)) {
		d.watchOver(p)
	}
	switch {
	case p.stage == barred && now.DeletionTimestamp != nil, p.waits() && now.DeletionTimestamp != nil && !d.tooPatient(now):
		d.withdraw(p)
		p.stage = leaving // somebody else was faster
	case p.waits() && !maps.Equal(before.Labels, now.Labels):
		d.withdraw(p)
		p.budgets = d.budgetsOf(now)
		d.place(p)
	case p.stage == gated, p.stage == mustering:
		d.withdraw(p)
		d.place(p)
	}
	for _, key := range p.budgets {
		if g := d.gates[key]; g != nil {
			g.settle()
		}
	}
}

// tooPatient tells whether a pod that is terminating already has more time left
// than the options give it.
func (d *Drainer) tooPatient(pod *corev1.Pod) bool {
	grace, has := d.options.GracePeriod, pod.DeletionGracePeriodSeconds
	return grace != nil && has != nil && *has > *grace
}

// disappeared: the cache has no such pod any more.
func (d *Drainer) disappeared(p *podDrain) {
	p.gone = true
	if p.pod.DeletionTimestamp == nil {
		d.expelledNow(p)
	}
	for _, key := range p.budgets {
		if g := d.gates[key]; g != nil {
			g.settle()
		}
	}
	switch p.stage {
	case asking: // its answer says whether it was evicted
		return
	case left: // one more piece of news from before
		return
	}
	d.withdraw(p)
	d.hasLeft(p)
}

func (d *Drainer) hasLeft(p *podDrain) {
	p.stage = left
	d.touched[p.node] = true
	delete(d.unclear, p)
	e := event.Event{Type: event.PodGone, Node: p.node.name, Pod: &p.name}
	if !p.evictedAt.IsZero() {
		e.Seconds = d.clock.Since(p.evictedAt).Seconds()
	}
	d.tell(e)
}

// place puts a pod where it has to wait, or into the queue.
func (d *Drainer) place(p *podDrain) {
	d.unclear[p] = true
	switch {
	case p.pod.DeletionTimestamp != nil && !d.tooPatient(p.pod):
		p.stage = leaving
		d.watchOver(p)
	case d.options.DisableEviction, len(p.budgets) == 0:
		d.letGo(p)
	case len(p.budgets) > 1:
		if p.refusal.verdict == twoBudgets {
			p.stage = stuck // asking once is enough
			return
		}
		d.letGo(p)
	default:
		g := d.gate(p.budgets[0])
		askedAlready := p.askedPod == p.pod.ResourceVersion && p.askedBudget == g.version()
		if (budget.Ignored(p.pod) || budget.PassesBy(p.pod, g.pdb)) && !askedAlready {
			d.letGo(p)
			return
		}
		p.stage = gated
		g.dirty = true
		if len(g.waiting) == 0 {
			d.probeLater(g)
		}
		g.waiting = append(g.waiting, p)
	}
}

func (d *Drainer) enqueue(p *podDrain) {
	p.stage = queued
	d.queue = append(d.queue, p)
	d.depart(p)
}

// withdraw takes a pod out of where it waits.
func (d *Drainer) withdraw(p *podDrain) {
	is := func(q *podDrain) bool { return q == p }
	switch p.stage {
	case queued:
		d.queue = slices.DeleteFunc(d.queue, is)
		d.stay(p)
	case mustering:
		p.quorum.waiting = slices.DeleteFunc(p.quorum.waiting, is)
	case gated:
		g := d.gate(p.budgets[0])
		g.waiting = slices.DeleteFunc(g.waiting, is)
	}
	if p.stage == queued && p.passed != nil {
		p.passed.passed--
		p.passed = nil
	}
}

// rest lets a refused pod wait for longer each time, or for as long as the server wants.
func (d *Drainer) rest(p *podDrain) {
	p.stage = resting
	pause := min(firstRest<<min(p.refused, 10), lastRest)
	p.refused++
	if p.refusal.verdict == namespaceTerminating {
		pause = slowRetry // its deletion will be announced
	}
	pause = max(pause, p.refusal.retryAfter)
	round := p.refused
	d.alarms.set(d.clock.Now().Add(pause), func() {
		if p.stage == resting && p.refused == round {
			d.place(p)
		}
	})
}

// watchOver makes a terminating pod be looked at again when its time is over.
func (d *Drainer) watchOver(p *podDrain) {
	if p.pod.DeletionTimestamp == nil {
		return
	}
	d.alarms.set(overdueAt(p.pod), func() { d.unclear[p] = true })
	if skip := d.options.SkipWaitForDelete; skip > 0 {
		d.alarms.set(p.pod.DeletionTimestamp.Add(skip+1), func() { d.tooLong(p) })
	}
}

// tooLong stops waiting for a pod that was deleted longer ago than the options allow.
func (d *Drainer) tooLong(p *podDrain) {
	j := d.options.judge(p.pod, d.clock.Now(), podFacts{})
	if p.stage != leaving || p.node.ended || j.reason != SkipTerminating {
		return
	}
	d.forget(p)
	d.skip(p.node, Skipped{Pod: p.pod, Reason: j.reason, Message: j.message})
	d.touched[p.node] = true
}

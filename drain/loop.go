// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
)

// loop is the goroutine that decides. It wakes for changes of the cluster, for
// answers of the API server, for Drains that begin or are interrupted, and for
// alarms; each time it takes in all that is new, and then sends what can be sent.
func (d *Drainer) loop(news *cluster.Subscription, quit <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	defer news.Close()
	wake := wakeup{clock: d.clock}
	defer wake.stop()
	watchEnded := d.watcher.Done()

	d.review() // the cluster may have changed while nobody looked
	for {
		if quit == nil && d.inFlight == 0 {
			return
		}
		select {
		case <-quit:
			quit = nil
		case <-news.Ready():
		case <-watchEnded:
			watchEnded = nil
			for _, n := range d.nodesInOrder() {
				d.end(n, d.watchEnded(n))
			}
		case command := <-d.commands:
			command()
		case a := <-d.answers:
			d.answered(a)
		case <-wake.c():
		}
		for _, change := range news.Take() {
			d.changed(change)
		}
		d.alarms.ring(d.clock.Now())
		d.settleTouched()
		d.pump()
		d.explainUnclear()
		wake.set(d.alarms.next())
	}
}

// changed takes in one change of the cluster.
func (d *Drainer) changed(c cluster.Change) {
	switch c.Kind {
	case cluster.KindNode:
		d.nodeChanged(c.Name)
	case cluster.KindPod:
		d.podChanged(c)
		d.quorumsChanged(c)
	case cluster.KindWorkload:
		d.quorumsChanged(c)
	case cluster.KindBudget:
		d.budgetChanged(types.NamespacedName{Namespace: c.Namespace, Name: c.Name}, c.Verb)
	case cluster.KindAttachment:
		for _, n := range d.nodes {
			if len(n.volumes) > 0 {
				d.touched[n] = true
			}
		}
	}
}

// pump lets pods through the gates that have room, and sends what is queued as
// far as the limiter allows.
func (d *Drainer) pump() {
	now := d.clock.Now()
	d.muster()
	for _, g := range d.gatesInOrder() {
		d.letThrough(g, now)
	}
	for room := d.limiter.room(d.inFlight, now); room > 0 && len(d.queue) > 0; {
		p := d.queue[0]
		if !d.agrees(p) { // any more
			d.withdraw(p)
			d.letGo(p)
			continue
		}
		d.queue = d.queue[1:]
		d.send(p)
		room--
	}
}

func (d *Drainer) letThrough(g *gate, now time.Time) {
	for len(g.waiting) > 0 {
		yes, later := g.room(now)
		if !yes && !d.probe(g, now) {
			if !later.IsZero() && g.alarm.Before(later) {
				g.alarm = later
				d.alarms.set(later, func() {}) // waking up is enough
			}
			return
		}
		p := g.waiting[0]
		g.waiting = g.waiting[1:]
		if !d.agrees(p) { // and takes none of the budget's room meanwhile
			d.letGo(p)
			continue
		}
		g.passed++
		g.lastPassed = now
		p.passed, p.probing = g, !yes
		d.enqueue(p)
	}
}

// gatesInOrder returns the gates at which pods wait, and drops those of which
// nothing has to be known any more.
func (d *Drainer) gatesInOrder() []*gate {
	var gates []*gate
	for key, g := range d.gates {
		switch {
		case g.idle():
			delete(d.gates, key)
		case len(g.waiting) > 0:
			gates = append(gates, g)
		}
	}
	slices.SortFunc(gates, func(a, b *gate) int {
		return cmp.Or(cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.Name, b.key.Name))
	})
	return gates
}

func (d *Drainer) nodesInOrder() []*nodeDrain {
	return slices.SortedFunc(maps.Values(d.nodes), func(a, b *nodeDrain) int { return cmp.Compare(a.name, b.name) })
}

// wakeup is a timer that is set anew in every round.
type wakeup struct {
	clock clock.WithTicker
	timer clock.Timer
	at    time.Time
	due   chan time.Time // receives at once; nil unless the time has come
}

func (w *wakeup) c() <-chan time.Time {
	switch {
	case w.due != nil:
		return w.due
	case w.timer != nil:
		return w.timer.C()
	}
	return nil
}

func (w *wakeup) stop() {
	w.due = nil
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (w *wakeup) set(at time.Time, wanted bool) {
	if w.timer != nil && w.due == nil && wanted && at.Equal(w.at) && at.After(w.clock.Now()) {
		return
	}
	w.stop()
	if !wanted {
		return
	}
	w.timer, w.at = w.clock.NewTimer(at.Sub(w.clock.Now())), at
	// Looked at after the timer is set: a clock that is moved by hand may have
	// been moved in between.
	if !at.After(w.clock.Now()) {
		w.due = make(chan time.Time)
		close(w.due)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
)

// quorum stands before the evictions of the members of one quorum set (see
// budget.Quorum), on whichever of the nodes they are. It lets one through, and the
// next one when all the others are there and Ready again. Nobody but the cache can
// say that: the API server knows nothing of quorums and lets every member go.
type quorum struct {
	set       types.UID
	namespace string
	name      string
	// waiting are the members to let through, first come first served.
	waiting []*podDrain
	// away are the members that were let through, until the cache shows that they
	// go or the server has said that they stay.
	away map[types.UID]*podDrain
	// stale: it may let somebody through that it did not let through before.
	stale bool
	// alarmed: it will be looked at again in a while, whatever happens.
	alarmed bool
}

// agrees tells whether the quorum of a pod lets it go now. It looks at the cache
// every time: what was so when the pod began to wait is no reason to evict it.
func (d *Drainer) agrees(p *podDrain) bool { return d.consents(d.quorumSet(p.pod), p) }

func (d *Drainer) consents(set *cluster.Workload, p *podDrain) bool {
	if set == nil {
		return true
	}
	if q := d.quorums[set.UID]; q != nil {
		for _, other := range q.away {
			if other != p {
				return false
			}
		}
	}
	return absent(set, p.pod).nobody()
}

// quorum returns the gate of a set.
func (d *Drainer) quorum(set *cluster.Workload) *quorum {
	q := d.quorums[set.UID]
	if q == nil {
		q = &quorum{set: set.UID, namespace: set.Namespace, name: set.Name, away: map[types.UID]*podDrain{}}
		d.quorums[set.UID] = q
	}
	return q
}

// letGo puts a pod that no budget holds back into the queue, or where it has to
// wait for the other members of its set.
func (d *Drainer) letGo(p *podDrain) {
	set := d.quorumSet(p.pod)
	if d.consents(set, p) {
		d.enqueue(p)
		return
	}
	q := d.quorum(set)
	p.stage, p.quorum = mustering, q
	q.waiting = append(q.waiting, p)
	d.unclear[p] = true
	d.musterLater(q)
}

// musterLater looks at a set again after a while, in case no news of it come.
func (d *Drainer) musterLater(q *quorum) {
	if q.alarmed {
		return
	}
	q.alarmed = true
	d.alarms.set(d.clock.Now().Add(slowRetry), func() {
		q.alarmed, q.stale = false, true
		if len(q.waiting) > 0 {
			d.musterLater(q)
		}
	})
}

// depart counts a pod as away from its set.
func (d *Drainer) depart(p *podDrain) {
	if set := d.quorumSet(p.pod); set != nil {
		p.quorum = d.quorum(set)
		p.quorum.away[types.UID(p.name.UID)] = p
	}
}

// stay takes back that a pod departed. One whose last request may have been
// carried out, although nobody said so, does not stay for certain.
func (d *Drainer) stay(p *podDrain) {
	if q := p.quorum; q != nil && !p.unsure {
		delete(q.away, types.UID(p.name.UID))
		q.stale = true
	}
}

// abandon gives a pod up about which nobody will ask any more, although its last
// request may have been carried out: by the time at which the server has given the
// request up, too, the cache knows.
func (d *Drainer) abandon(p *podDrain) {
	if p.quorum != nil && p.unsure {
		d.alarms.set(d.clock.Now().Add(requestTimeout), func() {
			p.unsure = false
			d.stay(p)
		})
	}
}

// doubt takes note of what an answer says about whether the pod was evicted.
func (p *podDrain) doubt(v verdict) {
	switch v {
	case failed: // perhaps after it was carried out
		p.unsure = true
	case accepted, gone, replaced, budgetSaysNo, budgetUnobserved, twoBudgets:
		p.unsure = false // of a pod that is being deleted the server does not ask the budgets
	case namespaceTerminating, throttled, webhookRefused, forbidden:
		// This request was not carried out; the one before may have been.
	}
}

// concerns tells whether a change may be one of the set or of a member.
func (q *quorum) concerns(c cluster.Change) bool {
	if c.Kind == cluster.KindWorkload {
		return c.UID == q.set
	}
	// The StatefulSet controller names its pods so (getPodName in
	// pkg/controller/statefulset/stateful_set_utils.go).
	return c.Namespace == q.namespace && strings.HasPrefix(c.Name, q.name+"-")
}

func (d *Drainer) quorumsChanged(c cluster.Change) {
	for _, q := range d.quorums {
		if q.concerns(c) {
			q.stale = true
		}
	}
}

// muster lets members go whose sets are complete again, and drops the quorums of
// which nothing has to be known any more.
func (d *Drainer) muster() {
	for _, q := range slices.SortedFunc(maps.Values(d.quorums), func(a, b *quorum) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name), cmp.Compare(a.set, b.set))
	}) {
		if len(q.waiting) == 0 && len(q.away) == 0 {
			delete(d.quorums, q.set)
		}
		if !q.stale {
			continue
		}
		q.stale = false
		for uid, p := range q.away {
			if now := d.watcher.Pod(p.name.Namespace, p.name.Name); now == nil || now.UID != uid || over(now) {
				delete(q.away, uid) // what the cache shows says enough
			}
		}
		for _, p := range slices.Clone(q.waiting) {
			d.unclear[p] = true
			if d.agrees(p) {
				d.withdraw(p)
				d.place(p)
			}
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// disruption is the moment at which a pod began to end.
type disruption struct {
	time     time.Time
	pod      *corev1.Pod
	marked   bool // bears the mark of the Eviction API
	healthy  bool // was healthy until then
	budgets  []balance
	quorum   *loss // nil if no quorum set controls it
	workload string
}

// balance is how a budget stands right after a disruption.
type balance struct {
	budget            string
	healthy, required int
	err               error // required is not known
}

// replay is what the history adds up to, before anybody is blamed for it.
type replay struct {
	world       *world
	began       bool // the beginning is complete, what comes now counts
	disruptions []*disruption
	nodes       map[string]*NodeHistory
	replicas    int // movable pods at the beginning
	busiest     Busiest
	zones       map[string]Busiest // by zone
	dips        []Dip
	open        map[types.UID]*Dip // by budget
	lapses      []Lapse
	lapsing     map[types.UID]*Lapse // by set
}

// play replays the ledgers up to and including revision.
func play(ledgers []*ledger, start time.Time, revision uint64) (*replay, error) {
	r := &replay{world: newWorld(), nodes: map[string]*NodeHistory{}, zones: map[string]Busiest{}, open: map[types.UID]*Dip{}, lapsing: map[types.UID]*Lapse{}}
	for _, l := range ledgers {
		for _, o := range l.initial {
			if err := r.world.apply(watch.Added, o); err != nil {
				return nil, err
			}
		}
	}
	changes, began := merge(ledgers, revision)
	for _, c := range changes {
		if !r.began && c.revision > began {
			r.begin(start)
		}
		if err := r.apply(c); err != nil {
			return nil, err
		}
	}
	if !r.began {
		r.begin(start)
	}
	r.end()
	return r, nil
}

func (r *replay) begin(start time.Time) {
	r.began = true
	for _, pod := range r.world.pods {
		if movable(pod) && pod.Spec.NodeName != "" {
			r.replicas++
		}
	}
	for _, node := range r.world.nodes {
		r.nodes[node.Name] = newNodeHistory(node)
	}
	r.countOut(start)
	for uid := range r.world.budgets {
		r.weigh(uid, start)
	}
	for uid := range r.world.sets {
		r.count(uid, start)
	}
}

func (r *replay) apply(c change) error {
	pod, isPod := c.object.(*corev1.Pod)
	node, isNode := c.object.(*corev1.Node)
	old, oldNode := r.world.pods[c.object.GetUID()], r.world.nodes[c.object.GetUID()]
	var selected []*budget
	if isPod && old != nil {
		selected = r.world.selecting(old)
	}
	if err := r.world.apply(c.verb, c.object); err != nil {
		return err
	}
	if !r.began {
		return nil
	}
	gone := c.verb == watch.Deleted
	switch {
	case isPod && old != nil && !ending(old) && (gone || ending(pod)):
		r.disrupt(c.seen, old, pod, selected)
	case isNode:
		r.nodeChanged(c.seen, oldNode, node, gone)
	}
	for uid, b := range r.world.budgets {
		concerned := b.Namespace == c.object.GetNamespace()
		if isPod {
			concerned = concerned && (slices.Contains(selected, b) || b.selects(pod))
		}
		if concerned {
			r.weigh(uid, c.seen)
		}
	}
	for uid := range r.touched(c, old) {
		r.count(uid, c.seen)
	}
	return nil
}

// selecting returns the budgets that select pod, sorted.
func (w *world) selecting(pod *corev1.Pod) []*budget {
	var out []*budget
	for _, b := range w.budgets {
		if b.pods[pod.UID] != nil {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *budget) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// disrupt records that a pod began to end, and how its budgets stand now that
// it does not count any more.
func (r *replay) disrupt(at time.Time, old, pod *corev1.Pod, selected []*budget) {
	d := &disruption{time: at, pod: pod, marked: evicted(old) || evicted(pod), healthy: healthy(old), workload: r.world.workload(pod)}
	for _, b := range selected {
		required, err := r.world.required(b)
		d.budgets = append(d.budgets, balance{name(b), b.healthy(), required, err})
	}
	if s := r.world.setOf(old); s != nil && s.quorum() {
		left := s.loss()
		d.quorum = &left
	}
	r.disruptions = append(r.disruptions, d)
}

// weigh opens or closes a dip of a budget.
func (r *replay) weigh(uid types.UID, at time.Time) {
	b := r.world.budgets[uid]
	required, err := r.world.required(b)
	if err != nil || len(b.pods) == 0 {
		return // a budget without pods protects nothing
	}
	have, dip := b.healthy(), r.open[uid]
	switch {
	case have < required && dip == nil:
		r.open[uid] = &Dip{Budget: name(b), Since: at, Lowest: have, Required: required}
	case have < required:
		dip.Lowest = min(dip.Lowest, have)
	case dip != nil:
		dip.Until = at
		r.dips = append(r.dips, *dip)
		delete(r.open, uid)
	}
}

func (r *replay) end() {
	r.endLapses()
	for _, dip := range r.open {
		r.dips = append(r.dips, *dip)
	}
	slices.SortFunc(r.dips, func(a, b Dip) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Budget, b.Budget)
	})
}

// workload names what controls a pod, for the count of moves.
func (w *world) workload(pod *corev1.Pod) string {
	for _, owner := range pod.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller {
			continue
		}
		kind, who := owner.Kind, owner.Name
		if rs := w.replicaSets[owner.UID]; rs != nil {
			for _, above := range rs.OwnerReferences {
				if above.Controller != nil && *above.Controller {
					kind, who = above.Kind, above.Name
				}
			}
		}
		return fmt.Sprintf("%s %s/%s", kind, pod.Namespace, who)
	}
	return "Pod " + name(pod)
}

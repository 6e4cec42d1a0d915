// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// gate stands before the evictions of the pods of one budget. It lets through
// as many as the budget allows, counting those that are on their way. The API
// server decides; the gate keeps questions from being asked whose answer is known.
type gate struct {
	key types.NamespacedName
	// pdb is the budget as the cache has it, and selector what it selects; nil once it is deleted.
	pdb      *policyv1.PodDisruptionBudget
	selector labels.Selector
	// waiting are the pods to let through, first come first served.
	waiting []*podDrain
	// passed is how many evictions were let through and have no answer yet.
	passed int
	// lastPassed is when the last one was let through.
	lastPassed time.Time
	// stirred is when one of the budget's pods became Ready, which its status does not
	// show yet; zero when the status has changed since.
	stirred time.Time
	// charged are the accepted evictions that the cached status may not show yet.
	charged map[types.UID]charge
	// closedAt is the version of the cached budget at which the server said no;
	// the answer can be another one only once there is another version.
	closedAt string
	// refusal is the server's word when it closed the gate.
	refusal answer
	// probeAt is when to ask anyway, in case the cache misleads.
	probeAt time.Time
	alarm   time.Time // the last one set for the end of a stagger
	// dirty: what there is to explain may have changed since explained was made.
	dirty     bool
	explained *event.Blocker
	// homeless: one of the budget's pods fits on no node, as far as was looked.
	homeless bool
}

// charge is an accepted eviction.
type charge struct {
	pod *podDrain
	// version is the version of the cached budget when the eviction was sent.
	version string
}

// stagger is the least time between two evictions of one budget, and from a pod of
// it that became Ready to the next eviction, unless the disruption controller has
// written the status since, as it has after some milliseconds if it has little to do.
// The API server counts an eviction by an optimistic write to the budget, and answers
// a conflict - with another eviction, or with the controller - by sleeping half a
// second before it tries again (EvictionsRetry in
// pkg/registry/core/pod/storage/eviction.go). So evictions that are sent together
// take longer than one after the other; but one that sleeps is no reason to wait
// for longer than that. With ten nodes being drained at the same time 20ms made
// each drain a fifth longer than 120ms or 300ms did.
const stagger = 200 * time.Millisecond

func newGate(key types.NamespacedName) *gate {
	return &gate{key: key, charged: map[types.UID]charge{}}
}

// observed tells whether the disruption controller has looked at the budget's
// newest specification; until then the server refuses every eviction.
func (g *gate) observed() bool { return g.pdb.Status.ObservedGeneration >= g.pdb.Generation }

// shut tells whether the gate lets nothing through until something changes. Pods of a
// budget that allows more are only waiting for their turn.
func (g *gate) shut() bool {
	return g.pdb != nil && (g.pdb.Status.DisruptionsAllowed <= 0 || !g.observed() || g.closed())
}

// cause is what keeps the gate shut, without looking at the pods.
func (g *gate) cause() event.Cause {
	if _, failed := budget.SyncFailed(g.pdb); failed {
		return event.CauseBudget
	}
	switch {
	case !g.observed():
		return event.CauseBudgetUnobserved
	case g.homeless:
		return event.CauseNoRoom
	}
	return event.CauseBudget
}

// room tells whether an eviction may be let through now; if only stagger is in
// the way, when it may.
func (g *gate) room(now time.Time) (yes bool, later time.Time) {
	if g.pdb == nil || !g.observed() || g.closed() {
		return false, time.Time{}
	}
	if int(g.pdb.Status.DisruptionsAllowed) <= g.passed+len(g.charged) {
		return false, time.Time{}
	}
	written := g.stirred // since when the controller has something to write
	if calm := g.passed == 0 && len(g.charged) == 0 && len(g.pdb.Status.DisruptedPods) == 0; !calm && g.lastPassed.After(written) {
		written = g.lastPassed
	}
	if next := written.Add(stagger); now.Before(next) {
		return false, next
	}
	return true, time.Time{}
}

// stir takes note of a change of a pod that may be one of the budget's: what there is to
// explain may be another, and of one that became Ready just now the disruption controller
// is about to write. A pod that is not selected any more, or gone, shows in the budget. now is compared with a time
// of the server's: where the clocks differ nothing is noted, which does no harm.
func (g *gate) stir(pod *corev1.Pod, now time.Time) {
	if g.selector == nil || g.key.Namespace != pod.Namespace || !g.selector.Matches(labels.Set(pod.Labels)) {
		return
	}
	g.dirty = true
	if _, homeless := unschedulable(pod); homeless {
		g.homeless = true
	}
	const justNow = 2 * time.Second // the API keeps times to the second
	lately := func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && now.Sub(c.LastTransitionTime.Time).Abs() < justNow
	}
	if budget.Healthy(pod) && slices.ContainsFunc(pod.Status.Conditions, lately) {
		g.stirred = now
	}
}

// know sets the budget, as what one begins with; nil for none.
func (g *gate) know(pdb *policyv1.PodDisruptionBudget) {
	g.pdb, g.selector = pdb, nil
	if pdb != nil {
		g.selector = cluster.BudgetSelector(pdb)
	}
}

// see takes in the budget as the cache has it; nil if it is deleted.
func (g *gate) see(pdb *policyv1.PodDisruptionBudget) {
	before := g.version()
	g.know(pdb)
	if g.version() != before {
		g.stirred = time.Time{}
	}
	g.dirty = true
	g.settle()
}

func (g *gate) closed() bool { return g.closedAt != "" && g.closedAt == g.version() }

// close takes note that the server refused, at the version of the budget that
// the cache had when the eviction was sent.
func (g *gate) close(version string, refusal answer) { g.closedAt, g.refusal = version, refusal }

// settle forgets the charges that the cached status shows: those that are listed
// as disrupted, and those that were sent before the status last changed and whose
// pods are already terminating or gone for the cache, so that the disruption
// controller has taken them off the list. Forgetting one too early costs a refused
// eviction; too late, a wait until the next probe.
func (g *gate) settle() {
	for uid, c := range g.charged {
		if g.pdb != nil {
			_, listed := g.pdb.Status.DisruptedPods[c.pod.name.Name]
			processed := g.version() != c.version && (c.pod.departed() || c.pod.node.ended)
			if !listed && !processed {
				continue
			}
		}
		delete(g.charged, uid)
	}
}

// version is the version of the budget that the cache has.
func (g *gate) version() string {
	if g.pdb == nil {
		return ""
	}
	return g.pdb.ResourceVersion
}

// idle tells whether nothing is known here that has to be kept.
func (g *gate) idle() bool { return len(g.waiting) == 0 && g.passed == 0 && len(g.charged) == 0 }

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
)

// waits adds up what waited for what.
type waits struct {
	open map[string]map[string]openWait // by node, and by the pod's UID
	by   map[waitKey]*wait
	node map[string]map[waitKey]*wait // the same for one node
}

// waitKey is what was waited for: a cause, and which budgets if it is about those.
type waitKey struct {
	cause event.Cause
	what  string
}

// openWait is a pod that waits now.
type openWait struct {
	key     waitKey
	since   time.Time
	blocker *event.Blocker
}

// wait is everybody who waited for the same.
type wait struct {
	key            waitKey
	pods, nodes    map[string]bool
	total, longest time.Duration
	blocker        *event.Blocker // of the one who waited longest
}

func (w *waits) init() {
	w.open, w.by, w.node = map[string]map[string]openWait{}, map[waitKey]*wait{}, map[string]map[waitKey]*wait{}
}

func (w *waits) blocked(e event.Event) {
	if e.Pod == nil || e.Blocker == nil {
		return
	}
	key := waitKey{cause: e.Blocker.Cause}
	names := make([]string, len(e.Blocker.Budgets))
	for i, b := range e.Blocker.Budgets {
		names[i] = b.Namespace + "/" + b.Name
	}
	key.what = strings.Join(names, ", ")
	id, here := identity(e.Pod), w.open[e.Node]
	if here == nil {
		here = map[string]openWait{}
		w.open[e.Node] = here
	}
	now := openWait{key: key, since: e.Time, blocker: e.Blocker}
	if before, known := here[id]; known {
		if before.key == key {
			now.since = before.since // it goes on
		} else {
			w.close(e.Node, id, e.Time)
		}
	}
	here[id] = now
}

// over ends the wait of a pod that got on.
func (w *waits) over(e event.Event) {
	if e.Pod != nil {
		w.close(e.Node, identity(e.Pod), e.Time)
	}
}

// left ends the waits on a node whose drain is over: volumes are waited for when
// their pod is gone already.
func (w *waits) left(node string, at time.Time) {
	for _, id := range sortedKeys(w.open[node]) {
		w.close(node, id, at)
	}
	delete(w.open, node)
}

// closeAll ends all waits: their process has ended.
func (w *waits) closeAll(at time.Time) {
	for _, node := range sortedKeys(w.open) {
		w.left(node, at)
	}
}

func identity(p *event.Pod) string {
	if p.UID != "" {
		return p.UID
	}
	return p.String()
}

func (w *waits) close(node, id string, at time.Time) {
	o, known := w.open[node][id]
	if !known {
		return
	}
	delete(w.open[node], id)
	ofNode := w.node[node]
	if ofNode == nil {
		ofNode = map[waitKey]*wait{}
		w.node[node] = ofNode
	}
	for _, by := range []map[waitKey]*wait{w.by, ofNode} {
		if by[o.key] == nil {
			by[o.key] = newWait(o.key)
		}
		by[o.key].add(node, id, o, max(at.Sub(o.since), 0))
	}
}

func newWait(key waitKey) *wait {
	return &wait{key: key, pods: map[string]bool{}, nodes: map[string]bool{}}
}

func (w *wait) add(node, id string, o openWait, took time.Duration) {
	w.pods[id], w.nodes[node] = true, true
	w.total += took
	if took >= w.longest || w.blocker == nil {
		w.longest, w.blocker = took, o.blocker
	}
}

// sorted returns what was waited for longest first.
func sorted(by map[waitKey]*wait) []*wait {
	list := make([]*wait, 0, len(by))
	for _, w := range by {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *wait) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.key.cause, b.key.cause), cmp.Compare(a.key.what, b.key.what))
	})
	return list
}

// wording says what a pod waits for.
func (k waitKey) wording() string {
	what := k.what
	if what == "" {
		what = "a budget"
	}
	switch k.cause {
	case event.CauseBudget:
		return "budget " + what + " to allow a disruption"
	case event.CauseBudgetUnobserved:
		return "budget " + what + " to be looked at by the disruption controller"
	case event.CauseTwoBudgets:
		return "somebody to remove one of the budgets " + what
	case event.CauseQuorum:
		return "another member of its quorum set to be back"
	case event.CauseFinalizer:
		return "finalizers to be removed"
	case event.CauseKubelet:
		return "the kubelet of its node to answer"
	case event.CauseTerminating:
		return "its own termination, within its grace period"
	case event.CauseVolume:
		return "its volumes to be detached"
	case event.CauseNoRoom:
		return "room for its replacement on another node"
	case event.CauseThrottled:
		return "the API server, which asked for patience"
	case event.CauseQueued:
		return "its turn"
	case event.CauseRefused:
		return "somebody to let it go: the rules of the drain do not"
	case event.CauseError:
		return "the API server, which answered with errors"
	}
	return string(k.cause)
}

// nodeWait is what nodes, not pods, waited for.
type nodeWait struct {
	what           string
	nodes          int
	total, longest time.Duration
}

func (w *nodeWait) add(took time.Duration) {
	w.nodes++
	w.total += took
	w.longest = max(w.longest, took)
}

// nodeWaits are the waits that the phases of the nodes show.
func (r *Run) nodeWaits() []nodeWait {
	slot := nodeWait{what: "a free slot"}
	ready := nodeWait{what: "the machine to be Ready again"}
	back := nodeWait{what: "the evicted workloads to be back"}
	for _, n := range r.nodes {
		if len(n.segments) > 0 {
			if took := r.timeline.place(n.segments[0].from); took >= 100*time.Millisecond {
				slot.add(took)
			}
		}
		for _, s := range n.segments {
			switch s.step {
			case run.StepReady:
				ready.add(s.to.Sub(s.from))
			case run.StepRecover:
				back.add(s.to.Sub(s.from))
			}
		}
	}
	var out []nodeWait
	for _, w := range []nodeWait{slot, ready, back} {
		if w.nodes > 0 {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b nodeWait) int { return cmp.Compare(b.total, a.total) })
	return out
}

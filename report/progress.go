// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// progress is what the events so far add up to. It knows nothing of how it is
// shown and has no clock: time is what the events say.
type progress struct {
	run     string // the run's id; "" for a verb that works without one
	started time.Time
	nodes   map[string]*node
	evicted int
	upgrade bool         // the run has stages: it is an upgrade
	restore bool         // it restores etcd
	summary *event.Event // nil until the end
}

// verb is what happens to the nodes of a run.
func (p *progress) verb() string {
	switch {
	case p.upgrade:
		return "upgraded"
	case p.restore:
		return "restored"
	}
	return "maintained"
}

// node is where one node stands.
type node struct {
	name    string
	phase   event.Phase
	since   time.Time // when it entered its phase
	begun   time.Time // when work on it began
	pods    int       // pods that have to leave, as far as known
	gone    int
	evicted int
	skipped int
	leaving map[event.Pod]bool          // evicted and not gone
	waiting map[event.Pod]event.Blocker // why a pod is still there
	message string                      // what the phase has to say, or why the node failed
}

func newProgress() *progress { return &progress{nodes: map[string]*node{}} }

// apply adds e. Events of an unknown type change nothing.
func (p *progress) apply(e event.Event) {
	if p.started.IsZero() {
		p.started = e.Time
	}
	switch e.Type {
	case event.RunStarted:
		p.run = e.Run
		for _, name := range e.Nodes {
			p.node(name)
		}
	case event.BackingUp, event.Fetching, event.StageStarted: // these two come before the first stage
		p.upgrade = true
	case event.Restoring:
		p.restore = true
	case event.Summary:
		p.summary = &e
	}
	if e.Node != "" {
		p.node(e.Node).apply(e, p.run != "")
	}
	if e.Type == event.PodEvicted {
		p.evicted++
	}
}

func (p *progress) node(name string) *node {
	n := p.nodes[name]
	if n == nil {
		n = &node{
			name: name, phase: event.PhasePending,
			leaving: map[event.Pod]bool{}, waiting: map[event.Pod]event.Blocker{},
		}
		p.nodes[name] = n
	}
	return n
}

func (n *node) apply(e event.Event, inRun bool) {
	switch e.Type {
	case event.NodePhase:
		n.enter(e.Phase, e)
		n.message = e.Message
		switch e.Phase {
		case event.PhaseDraining:
			n.pods = max(n.pods, n.gone+e.Pods) // it may be the second drain of the node
		case event.PhaseRetreating:
			clear(n.waiting)
		}
	case event.NodeDrained:
		clear(n.leaving)
		clear(n.waiting)
		if !inRun { // nothing comes after it
			n.enter(event.PhaseDone, e)
		}
	case event.NodeFailed:
		n.enter(event.PhaseFailed, e)
		n.message = e.Message
	case event.CommandOutput:
		n.message = e.Message
	case event.PodSkipped:
		if e.Reason != event.ReasonOutOfService { // which does not stay
			n.skipped++
		}
	}
	if e.Pod == nil {
		return
	}
	switch e.Type {
	case event.PodEvicted:
		n.begin(e)
		n.evicted++
		n.leaving[*e.Pod] = true
		delete(n.waiting, *e.Pod)
	case event.PodBlocked:
		n.begin(e)
		if e.Blocker != nil {
			n.waiting[*e.Pod] = *e.Blocker
		}
	case event.PodGone:
		n.gone++
		delete(n.leaving, *e.Pod)
		delete(n.waiting, *e.Pod)
	}
}

// begin takes a node of which only pods are heard for one that is being drained.
func (n *node) begin(e event.Event) {
	if n.phase == event.PhasePending {
		n.enter(event.PhaseDraining, e)
	}
}

func (n *node) enter(phase event.Phase, e event.Event) {
	if n.begun.IsZero() && phase != event.PhasePending {
		n.begun = e.Time
	}
	if n.phase != phase {
		n.phase, n.since = phase, e.Time
	}
}

// left is how many pods still have to leave the node.
func (n *node) left() int {
	known := len(n.leaving)
	for pod := range n.waiting {
		if !n.leaving[pod] {
			known++
		}
	}
	return max(n.pods-n.gone, known)
}

// active tells whether work on the node is under way.
func (n *node) active() bool {
	return n.phase != event.PhasePending && n.phase != event.PhaseDone && n.phase != event.PhaseFailed
}

// counts says how many nodes are done, failed, under way and not started.
func (p *progress) counts() (done, failed, active, pending int) {
	for _, n := range p.nodes {
		switch {
		case n.phase == event.PhaseDone:
			done++
		case n.phase == event.PhaseFailed:
			failed++
		case n.active():
			active++
		default:
			pending++
		}
	}
	return done, failed, active, pending
}

// interesting returns the nodes that a person wants to see: those under way,
// the longest first, and then those that failed. A node keeps its place until
// its work ends, so that rows do not jump.
func (p *progress) interesting() []*node {
	nodes := slices.DeleteFunc(slices.Collect(maps.Values(p.nodes)), func(n *node) bool {
		return !n.active() && n.phase != event.PhaseFailed
	})
	slices.SortFunc(nodes, func(a, b *node) int {
		if a.active() != b.active() {
			if a.active() {
				return -1
			}
			return 1
		}
		return cmp.Or(a.begun.Compare(b.begun), cmp.Compare(a.name, b.name))
	})
	return nodes
}

// waits says in one line what the node waits for.
func (n *node) waits() string {
	switch {
	case n.phase != event.PhaseDraining:
		return n.message
	case len(n.waiting) == 0 && len(n.leaving) == 0:
		return n.message
	case len(n.waiting) == 0:
		return phrase.Count(len(n.leaving), "pod") + " terminating"
	}
	pods := slices.SortedFunc(maps.Keys(n.waiting), func(a, b event.Pod) int {
		return cmp.Or(
			cmp.Compare(patience(n.waiting[a].Cause), patience(n.waiting[b].Cause)),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	text := pods[0].String()
	if len(pods) > 1 {
		text += " and " + phrase.Count(len(pods)-1, "other")
	}
	return text + ": " + n.waiting[pods[0]].Message
}

// patience orders causes by how little hope there is that they pass by themselves.
func patience(c event.Cause) int {
	switch c {
	case event.CauseTwoBudgets, event.CauseFinalizer, event.CauseKubelet:
		return 0
	case event.CauseNoRoom, event.CauseError, event.CauseVolume:
		return 1
	case event.CauseBudget, event.CauseQuorum:
		return 2
	}
	return 3
}

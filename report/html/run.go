// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
)

// Run is what a report is made of. It is made by New and filled by Add.
type Run struct {
	status   *run.Status
	planned  Planned
	timeline *timeline
	nodes    []*node // in the order in which they were begun, then by name
	byName   map[string]*node
	slots    int      // how many nodes may be out at once; 0 if that is not known
	events   int      // how many were added
	skipped  int      // lines of the history that could not be read
	missing  []string // what else the report lacks

	waits   waits
	moves   moves
	budgets budgets
	outages outages
	notices []notice
}

// upgrades tells whether the run is an upgrade, and not maintenance.
func (r *Run) upgrades() bool { return r.status.Spec.Upgrade != nil }

// done is what is said of a node with which the run is done.
func (r *Run) done() string {
	if r.upgrades() {
		return "upgraded"
	}
	return "maintained"
}

// notice is something that a person should read.
type notice struct {
	Time          time.Time
	Kind          string // warning or failure
	About         string
	Message, Hint string
}

// New begins a report with what the journal of a run has: its status and its
// records, of which there is at least one, in order. now is where a run ends
// that is still at work. planned is empty for a run without a plan.
func New(status *run.Status, records []run.Record, planned Planned, now time.Time) *Run {
	r := &Run{status: status, planned: planned, byName: map[string]*node{}}
	r.timeline = newTimeline(status, records, now)
	for _, target := range status.Spec.Nodes {
		n := &node{name: target.Name, status: status.Nodes[target.Name]}
		r.nodes = append(r.nodes, n)
		r.byName[n.name] = n
	}
	for _, p := range planned.Nodes {
		if n := r.byName[p.Name]; n != nil {
			n.planned = append(n.planned, p)
		}
	}
	r.waits.init()
	r.moves.init()
	r.budgets.init()
	for _, record := range records {
		r.record(record)
	}
	return r
}

// Add takes the next event of the run's history. Events that a report does not
// need are passed over.
func (r *Run) Add(e event.Event) {
	r.events++
	r.timeline.saw(e.Time)
	switch e.Type {
	case event.RunStarted:
		r.slots = e.Slots
		r.waits.closeAll(r.timeline.endBefore(e.Time))
	case event.PodBlocked:
		r.waits.blocked(e)
	case event.PodEvicted:
		r.waits.over(e)
		r.moves.evicted(e)
	case event.PodGone:
		r.waits.over(e)
	case event.PodPlaced:
		r.moves.placed(e, r.landing(e))
	case event.BudgetChanged:
		r.budgets.changed(e)
	case event.NodeDrained:
		r.waits.left(e.Node, e.Time)
	case event.NodeFailed:
		r.waits.left(e.Node, e.Time)
		r.notices = append(r.notices, notice{Time: e.Time, Kind: "failure", About: e.Node, Message: e.Message, Hint: e.Hint})
	case event.Warning:
		about := e.Node
		if e.Pod != nil {
			about = e.Pod.String()
		}
		r.notices = append(r.notices, notice{Time: e.Time, Kind: "warning", About: about, Message: e.Message, Hint: e.Hint})
	case event.APILost:
		r.outages.began(e)
	case event.APIBack, event.ServiceBack, event.ServiceProbed:
		if e.Type == event.APIBack {
			r.outages.ended(e)
		}
		about := e.Node
		if e.Probe != nil {
			about = e.Probe.Service
		}
		r.notices = append(r.notices, notice{Time: e.Time, Kind: "probe", About: about, Message: e.Message})
	case event.Summary:
		r.waits.closeAll(e.Time)
	}
}

// landing tells on what sort of node a replacement was placed.
func (r *Run) landing(e event.Event) landing {
	switch n := r.byName[e.Node]; {
	case n == nil:
		return onOther
	case !n.back.IsZero() && !e.Time.Before(n.back):
		return onMaintained
	}
	return onAwaiting
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/run"
)

// node is a node of the run with what was done to it.
type node struct {
	name     string
	status   *run.NodeStatus
	planned  []PlannedNode
	segments []segment
	back     time.Time // when it was schedulable again; zero before that
}

// segment is the time that a step took, in one attempt.
type segment struct {
	step     run.Step
	from, to time.Time
	open     bool // it was not ended in order
	failed   bool
}

// record draws the segments: a step begins with its intent, and ends with
// whatever is recorded about the node next. What a process left undone when it
// ended, ends with its session.
func (r *Run) record(rec run.Record) {
	if rec.Kind == run.KindOpened {
		for _, n := range r.nodes {
			n.leave(r.timeline.endBefore(rec.Time))
		}
		return
	}
	n := r.byName[rec.Node]
	if n == nil {
		return
	}
	n.leave(rec.Time)
	switch rec.Kind {
	case run.KindStep:
		switch {
		case rec.Step == run.StepMachine: // a mark, which takes no time
		case rec.State == run.Intent:
			n.segments = append(n.segments, segment{step: rec.Step, from: rec.Time, to: rec.Time, open: true})
		case rec.State == run.Lost:
			n.markFailed()
		case rec.Step == run.StepUncordon && rec.State == run.Done:
			n.back = rec.Time
		}
	case run.KindNodeFailed:
		n.markFailed()
	}
}

// leave ends what is under way.
func (n *node) leave(at time.Time) {
	if len(n.segments) == 0 {
		return
	}
	if last := &n.segments[len(n.segments)-1]; last.open {
		last.to, last.open = at, false
	}
}

func (n *node) markFailed() {
	if len(n.segments) > 0 {
		n.segments[len(n.segments)-1].failed = true
	}
}

// finish ends what was under way at the end, and puts the nodes in order.
func (r *Run) finish() {
	end := r.timeline.end()
	r.waits.closeAll(end)
	for _, n := range r.nodes {
		if len(n.segments) > 0 {
			if last := &n.segments[len(n.segments)-1]; last.open {
				last.to = end
			}
		}
	}
	slices.SortStableFunc(r.nodes, func(a, b *node) int {
		begunA, begunB := len(a.segments) > 0, len(b.segments) > 0
		switch {
		case begunA && begunB:
			return cmp.Or(a.segments[0].from.Compare(b.segments[0].from), cmp.Compare(a.name, b.name))
		case begunA != begunB:
			if begunA {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
}

// took is how long the node was worked on, pauses between sessions left out.
func (n *node) took(t *timeline) time.Duration {
	if len(n.segments) == 0 {
		return 0
	}
	var sum time.Duration
	from, to := n.segments[0].from, n.segments[len(n.segments)-1].to
	for _, s := range t.sessions {
		a, b := s.from, s.to
		if a.Before(from) {
			a = from
		}
		if b.After(to) {
			b = to
		}
		sum += max(b.Sub(a), 0)
	}
	return sum
}

// outs is when the node was out: each time from its cordon until it was schedulable again.
// One that failed or was left stays out. A control plane that is upgraded is visited before
// it is cordoned, or without, and is not out then.
func (n *node) outs(end time.Time) []interval {
	var all []interval
	for _, s := range n.segments {
		last := len(all) - 1
		switch {
		case s.step == run.StepCordon && (last < 0 || !all[last].to.Equal(end)):
			all = append(all, interval{s.from, end})
		case s.step == run.StepUncordon && !s.failed && !s.open && last >= 0:
			all[last].to = s.to
		}
	}
	return all
}

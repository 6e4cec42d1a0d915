// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
)

var begin = time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC)

// sampleRun is a made-up run: its journal and its history, of which all moments
// are those that a simulation with these numbers has.
type sampleRun struct {
	nodes, slots int
	workloads    int
	name         func(i int) string // of a node
	app          func(i int) string // of a workload
	planned      bool
	// killedAfter ends the first process after so many nodes, and another one carries on a day later.
	killedAfter int
	fail        int // the node that fails, counted from 1; 0 for none

	records []run.Record
	events  []event.Event
	plan    Planned
	phase   run.Phase
	end     time.Time
}

func newSample(nodes, slots int) *sampleRun {
	return &sampleRun{
		nodes: nodes, slots: slots, workloads: max(3, nodes/2), planned: true, phase: run.PhaseFinished,
		name: func(i int) string { return fmt.Sprintf("node-%02d", i) },
		app:  func(i int) string { return fmt.Sprintf("app-%02d", i) },
	}
}

// simulate fills the records and events, in the order of time.
func (s *sampleRun) simulate(t testing.TB) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	share, err := run.ParseShare(fmt.Sprint(s.slots))
	if err != nil {
		t.Fatal(err)
	}
	spec := &run.Spec{
		Run: "20261122-150405-abcd", Created: begin.Add(-2 * time.Second), Reboot: true, MaxUnavailable: share,
		Cluster: run.Identity{Server: "https://cluster.example:6443"},
	}
	for i := range s.nodes {
		spec.Nodes = append(spec.Nodes, run.Target{Name: s.name(i + 1), UID: "uid"})
	}
	s.records = []run.Record{{Kind: run.KindCreated, Time: spec.Created, Spec: spec}}
	s.record(begin, run.Record{Kind: run.KindOpened})
	s.emit(begin, event.Event{Type: event.RunStarted, Slots: s.slots})
	for w := range s.workloads {
		s.budget(begin, w, 0)
	}
	free := make([]time.Time, s.slots) // when each slot is free
	for i := range free {
		free[i] = begin.Add(200 * time.Millisecond)
	}
	for i := range s.nodes {
		slot := 0
		for j := range free {
			if free[j].Before(free[slot]) {
				slot = j
			}
		}
		if s.killedAfter > 0 && i == s.killedAfter {
			later := slices.MaxFunc(free, time.Time.Compare).Add(26 * time.Hour)
			for j := range free {
				free[j] = later
			}
			s.record(later.Add(-time.Second), run.Record{Kind: run.KindOpened})
			s.emit(later.Add(-time.Second), event.Event{Type: event.RunStarted, Slots: s.slots})
		}
		free[slot] = s.node(r, i, free[slot])
	}
	s.end = slices.MaxFunc(free, time.Time.Compare).Add(50 * time.Millisecond)
	if s.phase == run.PhaseFinished {
		s.record(s.end, run.Record{Kind: run.KindFinished, Result: event.ResultDone})
	}
	s.emit(s.end, event.Event{Type: event.Summary, Result: event.ResultDone})
	slices.SortStableFunc(s.records[1:], func(a, b run.Record) int { return a.Time.Compare(b.Time) })
	slices.SortStableFunc(s.events, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	if s.planned {
		s.plan.LowerBound, s.plan.Predicted = s.end.Sub(begin)*8/10, s.end.Sub(begin)*95/100
	}
}

// node simulates one node from at on, and returns when its slot is free.
func (s *sampleRun) node(r *rand.Rand, i int, at time.Time) time.Time {
	name, begun := s.name(i+1), at
	step := func(step run.Step, took time.Duration) {
		s.record(at, run.Record{Kind: run.KindStep, Node: name, Step: step, State: run.Intent})
		at = at.Add(took)
		s.record(at, run.Record{Kind: run.KindStep, Node: name, Step: step, State: run.Done, Evicted: 3})
	}
	some := func(most time.Duration) time.Duration { return time.Duration(r.Int64N(int64(most))) }
	step(run.StepCordon, 60*time.Millisecond)
	drain := 1200*time.Millisecond + some(1500*time.Millisecond)
	for p := range 3 {
		w := (i + p) % s.workloads
		pod := &event.Pod{Namespace: "shop", Name: fmt.Sprintf("%s-%d-%d", s.app(w), i, p), UID: fmt.Sprintf("%d-%d", i, p)}
		evicted := at.Add(some(drain / 3))
		if p == 0 {
			s.emit(evicted, event.Event{Type: event.PodBlocked, Node: name, Pod: pod, Blocker: &event.Blocker{
				Cause: event.CauseBudget, Message: "needs 2 healthy pods and has 2",
				Budgets: []event.Budget{{Namespace: "shop", Name: s.app(w), Unready: []string{"shop/" + s.app(w) + "-x"}}},
			}})
			evicted = evicted.Add(some(drain / 3))
		}
		workload := "Deployment shop/" + s.app(w)
		s.emit(evicted, event.Event{Type: event.PodEvicted, Node: name, Pod: pod, Workload: workload})
		s.budget(evicted.Add(time.Millisecond), w, 1)
		s.emit(evicted.Add(some(drain/3)), event.Event{Type: event.PodGone, Node: name, Pod: pod})
		target, uid := s.name(r.IntN(max(i, 1))+1), fmt.Sprintf("new-%d-%d", i, p)
		s.emit(evicted.Add(20*time.Millisecond), event.Event{Type: event.PodPlaced, Node: target, Pod: &event.Pod{Namespace: "shop", Name: "new", UID: uid}, Workload: workload})
		s.budget(evicted.Add(900*time.Millisecond), w, 0)
	}
	step(run.StepDrain, drain)
	drained := at
	step(run.StepReboot, 30*time.Millisecond)
	step(run.StepReady, 4*time.Second+some(800*time.Millisecond))
	if i+1 == s.fail {
		s.record(at, run.Record{Kind: run.KindNodeFailed, Node: name, Step: run.StepReady, Reason: "the node is not Ready after 15m0s: Ready is Unknown", Hint: "look at the machine and its kubelet", Timeout: true})
		s.emit(at, event.Event{Type: event.NodeFailed, Node: name, Message: "the node is not Ready after 15m0s: Ready is Unknown", Hint: "look at the machine and its kubelet"})
		return at
	}
	step(run.StepUncordon, 40*time.Millisecond)
	step(run.StepRecover, some(900*time.Millisecond))
	s.record(at, run.Record{Kind: run.KindNodeDone, Node: name})
	if s.planned {
		off := begun.Sub(begin)
		if s.killedAfter > 0 && i >= s.killedAfter {
			off = time.Duration(i/s.slots) * 7 * time.Second
		}
		s.plan.Nodes = append(s.plan.Nodes, PlannedNode{Name: name, Start: off * 97 / 100, Drained: off*97/100 + drained.Sub(begun)*9/10, End: (off + at.Sub(begun)) * 97 / 100})
	}
	return at.Add(10 * time.Millisecond)
}

func (s *sampleRun) record(at time.Time, r run.Record) {
	r.Time = at
	s.records = append(s.records, r)
}

func (s *sampleRun) emit(at time.Time, e event.Event) {
	e.Time = at
	s.events = append(s.events, e)
}

func (s *sampleRun) budget(at time.Time, w int, unavailable int32) {
	s.emit(at, event.Event{Type: event.BudgetChanged, Budget: &event.Budget{
		Namespace: "shop", Name: s.app(w), ExpectedPods: 4, CurrentHealthy: 4 - unavailable, DesiredHealthy: 3, DisruptionsAllowed: 1 - unavailable,
	}})
}

// status adds the records up, as a Store does.
func (s *sampleRun) status() *run.Status {
	status := &run.Status{Phase: s.phase, Spec: s.records[0].Spec, Nodes: map[string]*run.NodeStatus{}}
	for _, n := range status.Spec.Nodes {
		status.Nodes[n.Name] = &run.NodeStatus{Standing: run.Waiting}
	}
	for _, r := range s.records {
		n := status.Nodes[r.Node]
		switch {
		case r.Kind == run.KindFinished:
			status.Result = r.Result
		case n == nil:
		case r.Kind == run.KindStep:
			n.Standing = run.Begun
			if r.Step == run.StepDrain {
				n.Evicted += r.Evicted
			}
		case r.Kind == run.KindNodeDone:
			n.Standing = run.Maintained
		case r.Kind == run.KindNodeFailed:
			n.Standing, n.Reason, n.Hint, n.Timeout = run.Failed, r.Reason, r.Hint, r.Timeout
		}
	}
	return status
}

// write makes the page.
func (s *sampleRun) write(t testing.TB) string {
	t.Helper()
	if s.records == nil {
		s.simulate(t)
	}
	r := New(s.status(), s.records, s.plan, s.end)
	for _, e := range s.events {
		r.Add(e)
	}
	var b strings.Builder
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

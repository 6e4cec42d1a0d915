// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"

	"refit.dev/refit/event"
)

func TestStatus(t *testing.T) {
	records := []Record{
		{Kind: KindCreated, Spec: testSpec("a", "b")},
		{Kind: KindOpened, Process: &Process{PID: 1, Host: "h"}},
		{Kind: KindStep, Node: "a", Step: StepDrain, State: Intent, Workloads: []Workload{{Name: "first", Healthy: 3}}},
	}
	add := func(r ...Record) *Status {
		records = append(records, r...)
		return statusOf(records)
	}
	s := statusOf(records)
	if s.Phase != PhaseKilled || s.Nodes["a"].Standing != Begun || s.Nodes["b"].Standing != Waiting {
		t.Errorf("killed in the middle: %+v", s)
	}
	s = add(Record{Kind: KindNodeFailed, Node: "a", Reason: "why"}, Record{Kind: KindStopped, Result: event.ResultFailed, Reason: "because"})
	if s.Phase != PhaseStopped || s.Nodes["a"].Standing != Failed || s.Nodes["a"].Reason != "why" || s.Result != event.ResultFailed {
		t.Errorf("failed: %+v", s)
	}
	// A second attempt finds the node half drained: what counts is what was before the first.
	s = add(Record{Kind: KindOpened}, Record{Kind: KindStep, Node: "a", Step: StepDrain, State: Intent, Workloads: []Workload{{Name: "second"}}},
		Record{Kind: KindStep, Node: "a", Step: StepReboot, State: Intent, BootID: "one"},
		Record{Kind: KindStep, Node: "a", Step: StepReboot, State: Intent, BootID: "two"})
	if n := s.Nodes["a"]; n.Standing != Begun || n.Reason != "" || n.Workloads[0].Name != "first" || n.BootID != "one" {
		t.Errorf("resumed: %+v", n)
	}
	if s.Phase != PhaseKilled || s.Result != "" {
		t.Errorf("resumed and killed: %+v", s)
	}
	s = add(Record{Kind: KindNodeDone, Node: "a"}, Record{Kind: KindNodeSkipped, Node: "b", Reason: "gone"}, Record{Kind: KindFinished, Result: event.ResultDone})
	if !s.Closed() || s.Count(Maintained) != 1 || s.Count(Skipped) != 1 {
		t.Errorf("finished: %+v", s)
	}
}

func TestBootRequestIsTheSameEveryTime(t *testing.T) {
	a, b := bootRequest("run", "node"), bootRequest("run", "node")
	if a != b || len(a) != 36 || strings.Count(a, "-") != 4 {
		t.Errorf("%s and %s", a, b)
	}
	if a == bootRequest("run", "other") || a == bootRequest("other", "node") {
		t.Error("two reboots have one request")
	}
}

func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		a, b Identity
		same bool
	}{
		{Identity{"uid", "one"}, Identity{"uid", "two"}, true},
		{Identity{"uid", "one"}, Identity{"other", "one"}, false},
		{Identity{"", "one"}, Identity{"uid", "one"}, true},
		{Identity{"", "one"}, Identity{"uid", "two"}, false},
	} {
		if c.a.Same(c.b) != c.same {
			t.Errorf("%+v and %+v: want %t", c.a, c.b, c.same)
		}
	}
}

func TestNewIDSortsByTime(t *testing.T) {
	a, b := NewID(testTime), NewID(testTime.Add(1e9))
	if !idPattern.MatchString(a) || a >= b {
		t.Errorf("%s, %s", a, b)
	}
}

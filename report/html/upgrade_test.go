// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"strings"
	"testing"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
)

// upgradeSample is a made-up upgrade of a control plane, cp-1, and of two workers, whose
// names come before its own.
func upgradeSample() *sampleRun {
	s := newSample(0, 1)
	spec := &run.Spec{
		Run: "20261122-150405-abcd", Created: begin, Cluster: run.Identity{Server: "https://cluster.example:6443"},
		Nodes: []run.Target{{Name: "a-1", UID: "1"}, {Name: "a-2", UID: "2"}, {Name: "cp-1", UID: "3"}},
		Upgrade: &run.Upgrade{To: "v1.37.2", Stages: []run.Stage{
			{Role: run.FirstControlPlane, Version: "v1.37.2", Nodes: []string{"cp-1"}, Expected: []run.Expected{{Node: "cp-1", Seconds: 100}}},
			{Role: run.Workers, Version: "v1.37.2", Nodes: []string{"a-1", "a-2"}, Expected: []run.Expected{
				{Node: "a-1", Start: 100, Seconds: 60}, {Node: "a-2", Start: 160, Seconds: 60},
			}},
		}},
	}
	s.records = []run.Record{{Kind: run.KindCreated, Time: begin, Spec: spec}, {Kind: run.KindOpened, Time: begin}}
	s.emit(begin, event.Event{Type: event.RunStarted, Slots: 1})
	at := begin
	visit := func(node string, steps ...run.Step) {
		for _, step := range steps {
			s.record(at, run.Record{Kind: run.KindStep, Node: node, Step: step, State: run.Intent})
			at = at.Add(10 * time.Second)
			s.record(at, run.Record{Kind: run.KindStep, Node: node, Step: step, State: run.Done, Evicted: 2})
		}
		s.record(at, run.Record{Kind: run.KindNodeDone, Node: node})
	}
	visit("cp-1", "repository", "lists", "kubeadm", "upgrade", run.StepCordon, run.StepDrain, "kubelet", "restart", run.StepMachine,
		run.StepReady, run.StepVerify, "holds", run.StepUncordon, run.StepRecover)
	s.emit(begin.Add(30*time.Second), event.Event{Type: event.APILost, Node: "cp-1", Message: "the API server does not answer"})
	s.emit(begin.Add(38*time.Second), event.Event{Type: event.APIBack, Node: "cp-1", Seconds: 8, Message: "the API server answers again, after 8s"})
	for _, node := range []string{"a-1", "a-2"} {
		visit(node, "repository", "kubeadm", "upgrade", run.StepCordon, run.StepDrain, "kubelet", "restart", run.StepReady, run.StepVerify, run.StepUncordon, run.StepAfterNode)
	}
	s.end = at
	s.record(at, run.Record{Kind: run.KindFinished, Result: event.ResultDone})
	s.emit(at, event.Event{Type: event.Summary, Result: event.ResultDone})
	s.plan = PlannedUpgrade(spec.Upgrade)
	return s
}

func TestPageOfAnUpgrade(t *testing.T) {
	page := upgradeSample().write(t)
	wants(t, page, "upgrade report", "3 of 3 nodes upgraded", "Nodes upgraded", "upgrade to Kubernetes v1.37.2", "planned 3 min 40 s",
		"<strong>kubeadm</strong>", "<strong>installing</strong>", "<strong>fetching</strong>", "<strong>restarting</strong>", "<strong>verifying</strong>",
		"kubeadm from 0:30 for 10 s", "planned from 0:00, done at 1:40", "planned from 1:40, done at 2:40", "hook after from",
		"API server away", "<dd class=\"value\">8 s</dd><dd class=\"note\"><bdi>in 1 outage</bdi></dd>", "API away 8 s, while cp-1 was worked on")
	for _, unwanted := range []string{"maint", "machine 10 s", "its notch", "empty at"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("%q is in the page", unwanted)
		}
	}
	if strings.Count(page, "<strong>fetching</strong>") != 1 {
		t.Error("the legend says something twice")
	}
	if cp, worker := strings.Index(page, "<bdi>cp-1</bdi>"), strings.Index(page, "<bdi>a-1</bdi>"); cp < 0 || cp > worker {
		t.Error("the control plane does not come first")
	}
}

// A node is out from its cordon on: the control plane serves while kubeadm works on it.
func TestOutOfAnUpgrade(t *testing.T) {
	s := upgradeSample()
	r := New(s.status(), s.records, s.plan, s.end)
	outs := r.byName["cp-1"].outs(s.end)
	if len(outs) != 1 || outs[0].from.Sub(begin) != 40*time.Second || outs[0].to.Sub(begin) != 130*time.Second {
		t.Errorf("got %v", outs)
	}
	if outs := r.byName["a-2"].outs(s.end); len(outs) != 1 || outs[0].to.Equal(s.end) {
		t.Errorf("got %v", outs)
	}
}

// What was not heard to end lasts until the end of the run, and one that was not heard to
// begin is known by its end.
func TestOutages(t *testing.T) {
	var o outages
	o.ended(event.Event{Time: begin.Add(5 * time.Second), Seconds: 2, Node: "cp-1"})
	o.began(event.Event{Time: begin.Add(10 * time.Second), Node: "cp-1"})
	if tile, ok := o.tile(begin.Add(11 * time.Second)); !ok || tile.Value != "3 s" || tile.Note != "in 2 outages" {
		t.Errorf("got %+v", tile)
	}
	o.ended(event.Event{Time: begin.Add(14 * time.Second), Seconds: 4, Node: "cp-1"})
	if tile, ok := o.tile(begin.Add(time.Hour)); !ok || tile.Value != "6 s" || len(o) != 2 {
		t.Errorf("got %+v", tile)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"slices"
	"testing"

	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// TestStagesOf is about when the plan expects each visit: in seconds from the beginning
// of the run, whichever hop it belongs to.
func TestStagesOf(t *testing.T) {
	hop := func(minor int) upgrade.Hop {
		return upgrade.Hop{
			To: skew.Version{Minor: minor, Patch: 1}, Seconds: 300,
			ControlPlane: []upgrade.NodeSteps{{Node: "cp-1", Role: upgrade.FirstControlPlane, Seconds: 100}},
			Workers:      []upgrade.NodeSteps{{Node: "b", Role: upgrade.Worker, Start: 100, Seconds: 90}, {Node: "a", Role: upgrade.Worker, Start: 190, Seconds: 110}},
		}
	}
	p := &upgrade.Plan{Hops: []upgrade.Hop{hop(36), hop(37)}}
	stages, _ := StagesOf(p, AfterFirstWorker)
	var got []Expected
	for _, s := range stages {
		got = append(got, s.Expected...)
	}
	want := []Expected{{"cp-1", 0, 100}, {"b", 100, 90}, {"a", 190, 110}, {"cp-1", 300, 100}, {"b", 400, 90}, {"a", 490, 110}}
	if len(stages) != 5 || stages[1].Pause == "" || !slices.Equal(got, want) {
		t.Errorf("got %d stages, %v", len(stages), got)
	}
}

// Workers with other components are a stage of their own: not all have a kube-proxy that is a service.
func TestStagesOfComponents(t *testing.T) {
	visit := func(node string, components ...string) upgrade.NodeSteps {
		return upgrade.NodeSteps{Node: node, Role: upgrade.Worker, Components: components}
	}
	p := &upgrade.Plan{Hops: []upgrade.Hop{{To: skew.Version{Minor: 37, Patch: 2}, Workers: []upgrade.NodeSteps{
		visit("d", "kubelet", "kube-proxy"), visit("c", "kubelet"), visit("b", "kubelet", "kube-proxy"), visit("a", "kubelet"),
	}}}}
	for gate, want := range map[Gate]string{
		"":               "[b d] [kubelet kube-proxy]; [a c] [kubelet]; ",
		AfterFirstWorker: "[d] [kubelet kube-proxy]; [a c] [kubelet]; [b] [kubelet kube-proxy]; ",
	} {
		stages, _ := StagesOf(p, gate)
		got := ""
		for _, s := range stages {
			got += fmt.Sprintf("%v %v; ", s.Nodes, s.Components)
		}
		if got != want {
			t.Errorf("gate %q: %s, want %s", gate, got, want)
		}
	}
}

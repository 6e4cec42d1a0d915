// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"strings"
	"testing"

	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// planOf is a way of two hops: the kubelets of two control planes follow in visits of their
// own, and workers move in the second hop alone.
func planOf() *upgrade.Plan {
	kubelet := []upgrade.Step{{Name: upgrade.StepPackages}, {Name: upgrade.StepNode}, {Name: upgrade.StepDrain}, {Name: upgrade.StepKubelet}}
	held := []upgrade.PackageMove{{Name: "kubelet", Held: true}, {Name: "kubeadm"}}
	hop := func(minor int, workers ...upgrade.NodeSteps) upgrade.Hop {
		return upgrade.Hop{To: skew.Version{Minor: minor, Patch: 2}, Workers: workers, ControlPlane: []upgrade.NodeSteps{
			{Node: "cp-1", Role: upgrade.FirstControlPlane, Steps: kubelet[:2], Packages: held},
			{Node: "cp-2", Role: upgrade.ControlPlane, Steps: kubelet},
			{Node: "cp-1", Role: upgrade.ControlPlaneKubelet, Steps: kubelet[2:], Packages: held},
		}}
	}
	worker := func(name string) upgrade.NodeSteps {
		return upgrade.NodeSteps{Node: name, Role: upgrade.Worker, Steps: kubelet, Packages: held}
	}
	return &upgrade.Plan{To: skew.Version{Minor: 37, Patch: 2}, Hops: []upgrade.Hop{hop(36), hop(37, worker("w-2"), worker("w-1"), worker("w-3"))}}
}

func TestStagesOfGates(t *testing.T) {
	plane := func(minor int, pause string) []string {
		return []string{
			fmt.Sprintf("first-control-plane v1.%d.2 cp-1 later", minor), fmt.Sprintf("control-plane v1.%d.2 cp-2", minor),
			fmt.Sprintf("control-plane-kubelet v1.%d.2 cp-1%s", minor, pause),
		}
	}
	for gate, want := range map[Gate][]string{
		"":                append(append(plane(36, ""), plane(37, "")...), "workers v1.37.2 w-1,w-2,w-3"),
		AfterControlPlane: append(append(plane(36, "; after the control plane"), plane(37, "; after the control plane")...), "workers v1.37.2 w-1,w-2,w-3"),
		// The first worker is the one that the planner would begin with.
		AfterFirstWorker: append(append(plane(36, ""), plane(37, "")...), "workers v1.37.2 w-2; after the first worker", "workers v1.37.2 w-1,w-3"),
	} {
		t.Run(string(gate), func(t *testing.T) {
			stages, held := StagesOf(planOf(), gate)
			var got []string
			for _, s := range stages {
				line := fmt.Sprintf("%s %s %s", s.Role, s.Version, strings.Join(s.Nodes, ","))
				if s.KubeletLater {
					line += " later"
				}
				if s.Pause != "" {
					line += "; " + s.Pause
				}
				got = append(got, line)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, node := range []string{"cp-1", "w-1", "w-2", "w-3"} {
				if strings.Join(held[node], ",") != "kubelet" {
					t.Errorf("held on %s: %v", node, held[node])
				}
			}
		})
	}
}

// Stages of a plan are those of a run that is valid.
func TestStagesOfAreValid(t *testing.T) {
	spec := upgradeSpec("cp-1", "cp-2", "w-1", "w-2", "w-3")
	for _, gate := range []Gate{"", AfterControlPlane, AfterFirstWorker} {
		spec.Upgrade.Stages, _ = StagesOf(planOf(), gate)
		if err := spec.validate(); err != nil {
			t.Errorf("%q: %v", gate, err)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"refit.dev/refit/provider"
	"refit.dev/refit/run"
)

func TestWhatARunDoes(t *testing.T) {
	for want, spec := range map[string]run.Spec{
		"upgrade to v1.37.2": {Upgrade: &run.Upgrade{To: "v1.37.2"}},
		"reboot":             {Reboot: true},
		"command: date":      {Command: "date"},
	} {
		if got := act(&spec); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNodesOfAnUpgradeAreInTheirTurn(t *testing.T) {
	spec := &run.Spec{
		Run: "20261122-150405-abcd", Nodes: []run.Target{{Name: "a-1"}, {Name: "cp-1"}, {Name: "cp-2"}},
		Upgrade: &run.Upgrade{To: "v1.37.2", Stages: []run.Stage{
			{Role: run.FirstControlPlane, Version: "v1.37.2", Nodes: []string{"cp-1"}},
			{Role: run.OtherControlPlane, Version: "v1.37.2", Nodes: []string{"cp-2"}},
			{Role: run.ControlPlaneKubelet, Version: "v1.37.2", Nodes: []string{"cp-1"}},
			{Role: run.Workers, Version: "v1.37.2", Nodes: []string{"a-1"}},
		}},
	}
	status := &run.Status{Spec: spec, Phase: run.PhaseStopped, Nodes: map[string]*run.NodeStatus{
		"cp-1": {Standing: run.Maintained}, "cp-2": {Standing: run.Failed}, "a-1": {Standing: run.Waiting},
	}}
	var out strings.Builder
	if err := writeRun(&out, "text", status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"what:             upgrade to v1.37.2\n", "stage 1 of 4:     first control plane to v1.37.2: cp-1\n", "stage 4 of 4:     workers to v1.37.2: a-1\n",
		"\ncp-1   upgraded", "\ncp-2   failed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Index(out.String(), "\ncp-2 ") > strings.Index(out.String(), "\na-1 ") {
		t.Errorf("the worker comes first:\n%s", out.String())
	}
}

func TestMachinesOfARun(t *testing.T) {
	spec := &run.Spec{Run: "20261122-150405-abcd", Nodes: []run.Target{{Name: "w-1"}, {Name: "w-2"}, {Name: "w-3"}}, Upgrade: &run.Upgrade{To: "v1.37.2"}}
	status := &run.Status{Spec: spec, Phase: run.PhaseKilled, Nodes: map[string]*run.NodeStatus{
		"w-1": {Standing: run.Maintained}, "w-2": {Standing: run.Begun}, "w-3": {Standing: run.Failed},
	}, Machines: []run.MachineEntry{
		{Node: "w-1", Machine: provider.Machine{ID: "vm-7", Key: "refit-1", Node: "refit-1"}, Stand: run.Serving},
		{Node: "w-1", Machine: provider.Machine{ID: "vm-1", Node: "w-1"}, Old: true, Stand: run.Removed},
		{Node: "w-2", Machine: provider.Machine{ID: "vm-8", Key: "refit-2", Node: "refit-2"}, Stand: run.Serving},
		{Node: "w-2", Machine: provider.Machine{ID: "vm-2", Node: "w-2"}, Old: true, Stand: run.Owed},
		{Node: "w-3", Machine: provider.Machine{Key: "refit-3"}, Stand: run.Ordered},
	}}
	var out strings.Builder
	if err := writeRun(&out, "text", status); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"machines:         2 made, 1 removed, 1 owed, 1 asked for, of which nobody knows whether there is one\n",
		"vm-7      refit-1   refit-1   in service      in the place of w-1\n",
		"vm-2      -         w-2       to be removed   was the machine of w-2\n",
		"-         refit-3   -         ordered         in the place of w-3\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

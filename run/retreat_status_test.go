// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"maps"
	"testing"

	"refit.dev/refit/kubeadm"
)

// A node that gives its turn back keeps what was done before its cordon: neither its hook
// nor kubeadm is run a second time.
func TestARetreatKeepsWhatCameBeforeTheCordon(t *testing.T) {
	records := []Record{{Seq: 1, Kind: KindCreated, Spec: upgradeSpec("a")}}
	step := func(step Step, states ...State) {
		for _, state := range states {
			records = append(records, Record{Kind: KindStep, Node: "a", Step: step, State: state})
		}
	}
	step(StepBeforeNode, Intent, Done)
	step(Step(kubeadm.StepUpgrade), Intent, Done)
	step(StepCordon, Intent, Done)
	step(StepDrain, Intent)
	step(StepRetreat, Intent, Done)
	n := statusOf(records).Nodes["a"]
	want := map[Step]State{StepBeforeNode: Done, Step(kubeadm.StepUpgrade): Done}
	if !maps.Equal(n.Steps, want) || n.Standing != Waiting {
		t.Errorf("%v, %+v", n.Steps, n.Standing)
	}
}

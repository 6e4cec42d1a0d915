// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/kubeadm"
)

// fleetVisit is a visit to the machine m as a worker's, and the Fleet that reaches it.
func fleetVisit(m host.Machine) (*Fleet, Visit) {
	f := &Fleet{Reach: func(*corev1.Node, string) (host.Machine, error) { return m, nil }, Clock: clock.RealClock{}}
	return f, Visit{
		Run: "run-1", Node: machineNode("w1", "10.0.0.1"), Stage: Stage{Role: Workers, Version: newVersion, Nodes: []string{"w1"}},
		Upgrade: &Upgrade{To: newVersion}, Done: func(Step) bool { return false },
	}
}

// The machine that answers is not touched, nor looked at, if it is not the node's.
func TestFleetOpensNoOtherMachine(t *testing.T) {
	f, v := fleetVisit(hosttest.New(t, "other")) // nothing is expected
	v.Node.Status.NodeInfo.BootID = "another"
	v.Node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := f.Open(t.Context(), v); err == nil || !strings.Contains(err.Error(), "is not that node's") {
		t.Errorf("got %v", err)
	}
	if err := f.Fetch(t.Context(), v, nil); err == nil || !strings.Contains(err.Error(), "is not that node's") {
		t.Errorf("got %v", err)
	}
}

// A look that fails for good before anything was begun is a failure of its own, and no
// lost connection after which the step would be tried again for ever.
func TestFleetStepsFailForGood(t *testing.T) {
	for _, c := range []struct {
		err  error
		lost bool
	}{
		{errBroken, false},
		{hosttest.ErrLost, true},
	} {
		m := hosttest.New(t, "w1")
		m.AlwaysFunc("any command", func([]string) bool { return true }).Fail(c.err)
		p := &kubeadmProcedure{machine: m, clock: clock.RealClock{}, all: make([]kubeadm.Step, 1)}
		err := p.do(t.Context(), 0, nil)
		if _, lost := errors.AsType[*OutcomeUnknownError](err); lost != c.lost || !errors.Is(err, c.err) {
			t.Errorf("%v: got %v", c.err, err)
		}
	}
}

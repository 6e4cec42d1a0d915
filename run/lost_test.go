// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

func lostNode(name string) *corev1.Node {
	n := readyNode(name)
	n.Status.Conditions[0].Status = corev1.ConditionUnknown
	return n
}

// What is said of nodes whose drain would not end.
func TestLostNodesAreRefused(t *testing.T) {
	spec := testSpec("a", "b", "c")
	p := &Prepared{Spec: spec, Total: 4}
	var lost []string
	for name, leave := range map[string]int{"a": 2, "b": 0} {
		if p.refuseLost(lostNode(name), leave) {
			lost = append(lost, name)
		}
	}
	if p.refuseLost(readyNode("c"), 3) || len(lost) != 1 || lost[0] != "a" || len(p.refused) != 1 {
		t.Fatalf("%v: %+v", lost, p.refused)
	}
	if f := p.refused[0]; f.Code != NodeLost || f.Object.Name != "a" || !strings.HasPrefix(f.Message, "is lost: its kubelet does not answer") {
		t.Errorf("%+v", f)
	}
	err := p.lostError(lost)
	blocked := (*BlockedError)(nil)
	if !errors.As(err, &blocked) || !strings.Contains(err.Error(), "node a is lost: ") || !strings.Contains(err.Error(), "2 pods would stay Terminating") {
		t.Errorf("%v", err)
	}
	for _, part := range []string{"refit drain a --confirm-node-is-off", "or leave that node out: refit maintain b c", "nothing was changed"} {
		if !strings.Contains(hint.Of(err), part) {
			t.Errorf("no %q in %q", part, hint.Of(err))
		}
	}
	spec.Drain.GracePeriodSeconds = ptr.To[int64](0) // nobody waits for a kubelet then
	if p.refuseLost(lostNode("a"), 2) {
		t.Error("refused although its pods would be deleted at once")
	}
}

// A node that dies before its turn is put aside, and is maintained once it is back.
func TestEngineNodeIsLostMeanwhile(t *testing.T) {
	for _, returns := range []bool{false, true} {
		c := newFakeCluster(t, "a", "b", "c")
		c.workload("web", "b")
		spec := testSpec("a", "b")
		spec.MaxUnavailable, _ = ParseShare("1")
		spec.Order = []string{"a", "b"}
		if !returns {
			spec.Timeouts.Stall = metav1.Duration{Duration: 10 * time.Millisecond}
		}
		tr := newTrial(t, c, spec)
		tr.log.fail = func(r Record) error {
			switch {
			case r.Node == "a" && r.Step == StepReboot && r.State == Done:
				c.change(func() { c.nodes["b"] = lostNode("b") })
			case r.Node == "a" && r.Step == StepRecover && r.State == Done && returns:
				go c.change(func() { c.nodes["b"] = readyNode("b") })
			}
			return nil
		}
		o := tr.run(deadline(t))
		if returns && (o.Result != event.ResultDone || after(c.log(), "b") != "cordon drain reboot uncordon") {
			t.Errorf("it is back: %+v, %v", o, c.log())
		}
		if !returns && (o.Result != event.ResultUnfinished || !contains(o.Reason, "b (not Ready)") || after(c.log(), "b") != "") {
			t.Errorf("it stays away: %+v, %v", o, c.log())
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
)

// Once a node is drained whose machine is off, it is waited for until it is back, or
// nobody wants to wait any more.
func TestWaitForReturn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		then   func(x *world, stop context.CancelCauseFunc)
		result event.Result
		back   bool // told to be in service again
		taints int  // -1: there is no node
		warns  string
	}{
		{"it comes back", func(x *world, _ context.CancelCauseFunc) { x.back("n1") }, event.ResultDone, true, 0, ""},
		{"it is deleted", func(x *world, _ context.CancelCauseFunc) { x.delete(nodesResource, "", "n1") }, event.ResultDone, false, -1, "was not seen to be back"},
		{"interrupted", func(_ *world, stop context.CancelCauseFunc) { stop(errors.New("interrupted")) }, event.ResultUnfinished, false, 1, "keeps the taint"},
		{"somebody uncordons it", func(x *world, _ context.CancelCauseFunc) {
			change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) { n.Spec.Unschedulable = false })
			x.back("n1")
		}, event.ResultDone, true, 0, "was uncordoned by somebody else"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"))
			x.lose("n1")
			change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) { n.Spec.Taints = nil })
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			done := x.drainNodes(ctx, x.drainer(func(o *Options) { o.ConfirmNodeIsOff, o.WaitForReturn = true, true }), false, "n1")
			x.until("it to be waited for", func() bool {
				return slices.ContainsFunc(x.events, func(e event.Event) bool { return e.Type == event.NodePhase && e.Phase == event.PhaseReadying })
			})
			if n := nodeNow(t, x.client); !cluster.OutOfService(n) || x.cordoned() != "n1" {
				t.Errorf("taints %v, cordoned: %s", n.Spec.Taints, x.cordoned())
			}
			tt.then(x, stop)
			got := x.ended(done)
			notBack := (*AwayError)(nil)
			if got.summary.Result != tt.result || strings.Contains(got.summary.Message, "was not seen to be Ready again (interrupted)") != (tt.result != event.ResultDone) || (x.count(event.NodeInService) == 1) != tt.back || errors.As(got.err, &notBack) != (tt.result != event.ResultDone) {
				t.Errorf("%+v, %v, told:\n%s", got.summary, got.err, x.log())
			}
			if told := warnings(x); len(told) > 1 || strings.Join(told, "") == "" != (tt.warns == "") || !strings.Contains(strings.Join(told, ""), tt.warns) {
				t.Errorf("warned of %q, want %q", told, tt.warns)
			}
			if tt.taints < 0 {
				return
			}
			n := nodeNow(t, x.client)
			if _, marked := cluster.OutOfServiceMarkOf(n); len(n.Spec.Taints) != tt.taints || marked != (tt.taints > 0) || n.Spec.Unschedulable == strings.Contains(tt.warns, "uncordoned") {
				t.Errorf("taints %v, annotations %v, unschedulable: %v", n.Spec.Taints, n.Annotations, n.Spec.Unschedulable)
			}
		})
	}
}

func warnings(x *world) (messages []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if e.Type == event.Warning {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

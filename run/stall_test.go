// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"refit.dev/refit/event"
)

// That nothing can be started is told after a while, once, and ends the run at the limit.
func TestEngineTellsThatNothingCanBeStarted(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	c.nodes["c"].Spec.Unschedulable = true // somebody has it out, and there is one slot
	spec := testSpec("a", "b")
	spec.MaxUnavailable, _ = ParseShare("1")
	spec.Timeouts.Stall.Duration = 10_000 * time.Hour // far more than the steps below add up to
	tr := newTrial(t, c, spec)
	clk := clocktesting.NewFakeClock(time.Now())
	tr.engine.clock = clk
	begun := clk.Now()
	told := make(chan time.Duration, 2)
	tr.engine.sink = event.SinkFunc(func(e event.Event) {
		if e.Type == event.Warning && contains(e.Message, "no node can be started") {
			told <- clk.Since(begun)
		}
	})
	ctx := deadline(t)
	ended := make(chan Outcome, 1)
	go func() { ended <- tr.engine.run(ctx) }()
	for waiting := true; waiting; {
		select {
		case after := <-told:
			if waiting = false; after < stallNotable {
				t.Errorf("told after %s", after)
			}
		case <-ctx.Done():
			t.Fatal("nothing is told")
		default:
			clk.Step(time.Second)
		}
	}
	clk.Step(spec.Timeouts.Stall.Duration)
	if o := <-ended; o.Result != event.ResultUnfinished || !contains(o.Reason, "waited for 10000h") {
		t.Errorf("%+v", o)
	}
	if len(told) > 0 {
		t.Error("it is told again")
	}
}

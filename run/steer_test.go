// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
)

func (c *fakeCluster) taint(name, run string) {
	n := c.nodes[name].DeepCopy()
	n.Spec.Taints = []corev1.Taint{{Key: cluster.TaintKey, Value: run, Effect: corev1.TaintEffectPreferNoSchedule}}
	c.nodes[name] = n
}

func (c *fakeCluster) tainted(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cluster.TaintedBy(c.nodes[name])
}

// While the first node is at work those that wait are tainted; at the end none is,
// but for the taint of another run.
func TestEngineTaintsNodesThatWait(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeCluster(t, "a", "b", "c", "d")
	c.taint("d", "20260101-000000-ffff")
	c.busy = 2 // which is no reason to leave a node out
	spec := testSpec("a", "b", "c")
	spec.MaxUnavailable, _ = ParseShare("1")
	tr := newTrial(t, c, spec)
	ctx := deadline(t)
	first := true
	c.onDrain = func(_ context.Context, name string) (Drained, error) {
		if first {
			first = false
			for _, other := range []string{"a", "b", "c"} {
				for other != name && c.tainted(other) != spec.Run && ctx.Err() == nil {
					changed := c.Subscribe()
					if c.tainted(other) != spec.Run {
						select {
						case <-changed.Ready():
						case <-ctx.Done():
						}
					}
					changed.Close()
				}
			}
		}
		return c.drain(name), nil
	}
	if o := tr.run(ctx); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	for name, want := range map[string]string{"a": "", "b": "", "c": "", "d": "20260101-000000-ffff"} {
		if got := c.tainted(name); got != want {
			t.Errorf("node %s is tainted by %q, want %q", name, got, want)
		}
	}
}

// What a process that was killed has tainted, the next one cleans up, however it ends.
func TestEngineRemovesTaintsOfAnEarlierProcess(t *testing.T) {
	c := newFakeCluster(t, "a", "b", "c")
	spec := testSpec("a", "b", "c")
	spec.Reboot, spec.Command = false, "false"
	for _, name := range []string{"a", "b", "c"} {
		c.taint(name, spec.Run)
	}
	tr := newTrial(t, c, spec)
	tr.hosted(func(context.Context, string) error { return &host.ExitError{Code: 1} })
	if o := tr.run(deadline(t)); o.Result != event.ResultFailed {
		t.Fatalf("%+v", o)
	}
	for _, name := range []string{"a", "b", "c"} {
		if got := c.tainted(name); got != "" {
			t.Errorf("node %s is tainted by %q", name, got)
		}
	}
}

// A taint that stays is told, whatever else there is to tell, and the run is not
// closed: who resumes it tries again.
func TestEngineTellsOfTaintsThatStay(t *testing.T) {
	for what, fails := range map[string]error{"all is well": nil, "a node failed": &host.ExitError{Code: 1}} {
		t.Run(what, func(t *testing.T) {
			c := newFakeCluster(t, "a", "b", "c")
			spec := testSpec("a", "b")
			spec.Reboot, spec.Command = false, "x"
			spec.MaxFailures = 2
			c.taint("b", spec.Run)
			c.onUntaint = func(_ context.Context, name string) error {
				return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Node").GroupKind(), name, nil)
			}
			tr := newTrial(t, c, spec)
			tr.hosted(func(context.Context, string) error { return fails })
			sink := tr.sink
			tr.sink = event.SinkFunc(func(e event.Event) {
				if e.Node == "b" && e.Phase == event.PhaseRecovering { // as if its uncordon had left the taint
					c.change(func() { c.taint("b", spec.Run) })
				}
				sink.Emit(e)
			})
			o := tr.run(deadline(t))
			want := event.ResultUnfinished
			if fails != nil {
				want = event.ResultFailed
			}
			if o.Result != want || !contains(o.Reason, "soft taint") || !contains(o.Hint, "refit runs resume "+spec.Run) || o.Status.Closed() {
				t.Errorf("%+v", o)
			}
			if fails != nil && !contains(o.Reason, "2 nodes failed") {
				t.Errorf("%+v", o)
			}
			c.onUntaint = nil
			if o := tr.next(t, UnknownStop).run(deadline(t)); o.Result != event.ResultDone || c.tainted("b") != "" {
				t.Errorf("resumed: %+v", o)
			}
		})
	}
}

// An API server that does not answer holds the end of a run up for no longer than
// its limit.
func TestUntaintEndsWithItsContext(t *testing.T) {
	c := newFakeCluster(t, "a", "b")
	tr := newTrial(t, c, testSpec("a", "b"))
	ctx, cancel := context.WithCancel(deadline(t))
	c.onUntaint = func(call context.Context, _ string) error {
		cancel()
		<-call.Done()
		return call.Err()
	}
	// callLimit would end the requests, too, but as too late.
	if err := tr.untaint(ctx, []string{"a", "b"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

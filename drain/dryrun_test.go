// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/event"
)

func dryRun(d DryRun) func(*Options) { return func(o *Options) { o.DryRun = d } }

func TestDryRunClientAsksNobody(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"), pod("m", "n1", mirror))
	got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunClient)), "n1"))
	if want := (event.Counts{Evicted: 1, Skipped: 1}); got.err != nil || got.Counts != want || len(x.asked) != 0 {
		t.Errorf("%+v, asked %v", got, x.asked)
	}
}

func TestDryRunServerAsksForEachPod(t *testing.T) {
	everything := pdb("all", 1, 2, func(b *policyv1.PodDisruptionBudget) {
		b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "two"}}
	})
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pdb("two", 1, 1), everything,
		pod("web-0", "n1"), pod("two-0", "n1", label("two")), pod("free", "n1", label("free")), pod("hooked", "n1", label("free")))
	x.answer("shop/hooked", func(int) error { return apierrors.NewBadRequest(`admission webhook "w" denied the request`) })
	got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunServer)), "n1"))
	if want := (event.Counts{Evicted: 1, Blocked: 3}); got.err != nil || got.Counts != want {
		t.Errorf("%+v", got)
	}
	want := map[string]event.Cause{"web-0": event.CauseBudget, "two-0": event.CauseTwoBudgets, "hooked": event.CauseError}
	for _, r := range got.Remaining {
		if want[r.Pod.Name] != r.Blocker.Cause {
			t.Errorf("%+v", r)
		}
	}
	if n := x.count(event.PodGone) + x.count(event.NodeDrained); n != 0 {
		t.Errorf("told:\n%s", x.log())
	}
	for _, name := range []string{"web-0", "two-0", "free", "hooked"} {
		if _, err := x.client.CoreV1().Pods("shop").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestDryRunServerThrottled(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"))
	x.answer("shop/a", func(n int) error {
		if n == 1 {
			return apierrors.NewTooManyRequests("later", 3)
		}
		return nil
	})
	done := x.drain(t.Context(), x.drainer(dryRun(DryRunServer)), "n1")
	x.step(3 * time.Second)
	if got := x.wait(done); got.err != nil || got.Evicted != 1 || len(x.asked) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestDryRunEndsEarly(t *testing.T) {
	t.Run("forbidden", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1"))
		x.answer("shop/a", func(int) error { return apierrors.NewForbidden(corev1.Resource("pods"), "a", errors.New("no")) })
		if got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunServer)), "n1")); !apierrors.IsForbidden(got.err) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1"))
		ctx, cancel := context.WithCancel(t.Context())
		x.answer("shop/a", func(int) error {
			cancel()
			return nil
		})
		var unfinished *UnfinishedError
		if got := x.wait(x.drain(ctx, x.drainer(dryRun(DryRunServer)), "n1")); !errors.As(got.err, &unfinished) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("unknown node", func(t *testing.T) {
		x := newWorld(t, node("n1"))
		if got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunClient)), "n9")); !errors.Is(got.err, ErrNodeDeleted) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("refused", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1", bare))
		var refused *RefusedError
		if got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunServer)), "n1")); !errors.As(got.err, &refused) || len(x.asked) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

func intOrString(n int32) *intstr.IntOrString { return ptr.To(intstr.FromInt32(n)) }

func TestDrainEmptiesANode(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pod("other", "n2"))
	for i := range 110 {
		x.create(pod(fmt.Sprintf("p%03d", i), "n1"))
	}
	got := x.wait(x.drain(t.Context(), x.drainer(), "n1"))
	if got.err != nil {
		t.Fatal(got.err)
	}
	if want := (event.Counts{Evicted: 110, Gone: 110}); got.Counts != want || len(got.EvictedPods) != 110 || len(got.Remaining) != 0 {
		t.Errorf("%+v", got)
	}
	if len(x.asked) != 110 || slices.Contains(x.asked, "shop/other") {
		t.Errorf("asked %d times: %v", len(x.asked), x.asked)
	}
	if x.count(event.PodEvicted) != 110 || x.count(event.PodGone) != 110 || x.count(event.NodeDrained) != 1 || x.count(event.PodBlocked) != 0 {
		t.Errorf("events:\n%s", x.log())
	}
}

// Two nodes share a budget that lets one pod go at a time.
func TestDrainKeepsABudgetOverNodes(t *testing.T) {
	const each = 10
	x := newWorld(t, node("n1"), node("n2"), pdb("web", 1, 2*each))
	x.replace = true
	for i := range each {
		x.create(pod(fmt.Sprintf("a%d", i), "n1"))
		x.create(pod(fmt.Sprintf("b%d", i), "n2"))
	}
	x.look()
	d := x.drainer()
	first, second := x.drain(t.Context(), d, "n1"), x.drain(t.Context(), d, "n2")
	for _, done := range []<-chan outcome{first, second} {
		if got := x.wait(done); got.err != nil || got.Evicted != each || got.Gone != each {
			t.Errorf("%+v", got)
		}
	}
	if x.refusals != 0 || len(x.asked) != 2*each {
		t.Errorf("%d requests for %d pods, %d refused", len(x.asked), 2*each, x.refusals)
	}
}

// The pods of a budget that lets nothing go hold nobody else up.
func TestBlockedPodsHoldNobodyUp(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pdb("web", 0, 2),
		pod("web-0", "n1"), pod("web-1", "n2"), pod("db-0", "n1", label("db")), pod("db-1", "n2", label("db")))
	d := x.drainer()
	first, second := x.drain(t.Context(), d, "n1"), x.drain(t.Context(), d, "n2")
	x.until("the others to be gone", func() bool { return x.count(event.PodGone) == 2 })
	b := x.untilBlocked("shop/web-0", event.CauseBudget)
	want := event.Budget{Namespace: "shop", Name: "web", CurrentHealthy: 2, DesiredHealthy: 2, ExpectedPods: 2}
	if len(b.Budgets) != 1 || fmt.Sprint(b.Budgets[0]) != fmt.Sprint(want) || !strings.Contains(b.Hint, "never") {
		t.Errorf("%+v", b)
	}
	if n := x.timesAsked("shop/web-0") + x.timesAsked("shop/web-1"); n != 0 {
		t.Errorf("asked %d times although the budget says no", n)
	}
	x.terminate, x.replace = true, true
	change(x, &policyv1.PodDisruptionBudget{}, "shop", "web", func(b *policyv1.PodDisruptionBudget) {
		b.Spec.MaxUnavailable = intOrString(1)
		b.Generation++
	})
	x.untilBlocked("shop/web-0", event.CauseBudgetUnobserved)
	x.look()
	for _, done := range []<-chan outcome{first, second} {
		if got := x.wait(done); got.err != nil || got.Evicted != 2 {
			t.Errorf("%+v", got)
		}
	}
	if x.refusals != 0 {
		t.Errorf("%d refused", x.refusals)
	}
}

func TestBlockerNamesUnreadyAndHomelessPods(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 1, 3), pod("web-0", "n1"), pod("web-1", "n2"), pod("web-2", "n2", unready))
	ctx, cancel := context.WithCancel(t.Context())
	done := x.drain(ctx, x.drainer(), "n1")
	b := x.untilBlocked("shop/web-0", event.CauseBudget)
	if len(b.Budgets) != 1 || len(b.Budgets[0].Unready) != 1 || !strings.Contains(b.Budgets[0].Unready[0], "web-2") {
		t.Errorf("%+v", b)
	}
	x.changePod("web-2", func(p *corev1.Pod) {
		p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/2 nodes are available: 2 Insufficient cpu.",
		})
	})
	b = x.untilBlocked("shop/web-0", event.CauseNoRoom)
	if !strings.Contains(b.Message, "Insufficient cpu") || len(b.Budgets) != 1 {
		t.Errorf("%+v", b)
	}
	cancel()
	if got := x.wait(done); !errors.Is(got.err, context.Canceled) || len(got.Remaining) != 1 || got.Remaining[0].Blocker.Cause != event.CauseNoRoom {
		t.Errorf("%+v", got)
	}
}

func TestBlockerNamesBudgetThatCannotBeComputed(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
	change(x, &policyv1.PodDisruptionBudget{}, "shop", "web", func(b *policyv1.PodDisruptionBudget) {
		b.Status = policyv1.PodDisruptionBudgetStatus{Conditions: []metav1.Condition{{
			Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: "no matches for kind Ceph",
		}}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := x.drain(ctx, x.drainer(), "n1")
	b := x.untilBlocked("shop/web-0", event.CauseBudget)
	if !strings.Contains(b.Message, "cannot compute it: no matches for kind Ceph") || !strings.Contains(b.Hint, "minAvailable as a number") {
		t.Errorf("%+v", b)
	}
	cancel()
	x.wait(done)
}

// Evictions of unready pods that the API server would allow are not held back.
func TestUnreadyPodsPassBy(t *testing.T) {
	always := func(b *policyv1.PodDisruptionBudget) {
		b.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
	}
	for _, tt := range []struct {
		name   string
		budget *policyv1.PodDisruptionBudget
		pods   []*corev1.Pod
		passes bool
	}{
		{"always", pdb("web", 0, 2, always), []*corev1.Pod{pod("a", "n1", unready), pod("b", "n2", unready)}, true},
		{"healthy budget", pdb("web", 1, 2), []*corev1.Pod{pod("a", "n1", unready), pod("b", "n2")}, true},
		{"unhealthy budget", pdb("web", 0, 2), []*corev1.Pod{pod("a", "n1", unready), pod("b", "n2")}, false},
		{"pending", pdb("web", 0, 2), []*corev1.Pod{pod("a", "n1", unready, func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), pod("b", "n2")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"), tt.budget)
			for _, p := range tt.pods {
				x.create(p)
			}
			x.look()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := x.drain(ctx, x.drainer(), "n1")
			if !tt.passes {
				x.untilBlocked("shop/a", event.CauseBudget)
				cancel()
			}
			if got := x.wait(done); (got.err == nil) != tt.passes || x.refusals != 0 {
				t.Errorf("%+v, %d refused", got, x.refusals)
			}
		})
	}
}

func TestTwoBudgets(t *testing.T) {
	everything := pdb("all", 1, 2, func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = &metav1.LabelSelector{} })
	x := newWorld(t, node("n1"), pdb("web", 1, 1), everything, pod("web-0", "n1"), pod("db-0", "n1", label("db")))
	x.replace = true
	done := x.drain(t.Context(), x.drainer(), "n1")
	b := x.untilBlocked("shop/web-0", event.CauseTwoBudgets)
	if len(b.Budgets) != 2 || b.Budgets[0].Name != "all" || b.Budgets[1].Name != "web" {
		t.Errorf("%+v", b)
	}
	x.until("the other to be gone", func() bool { return x.count(event.PodGone) == 1 })
	x.look() // nothing that matters
	x.delete(budgetsResource, "shop", "all")
	if got := x.wait(done); got.err != nil || got.Evicted != 2 {
		t.Errorf("%+v", got)
	}
	if n := x.timesAsked("shop/web-0"); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestLabelsMoveAPodOutOfItsBudget(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/web-0", event.CauseBudget)
	x.changePod("web-0", label("free"))
	if got := x.wait(done); got.err != nil || got.Evicted != 1 || x.refusals != 0 {
		t.Errorf("%+v", got)
	}
}

// The cache says that the budget allows nothing, and no news come: after a while
// one pod is asked for all the same.
func TestSlowRetryWhenTheCacheMisleads(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 2), pod("web-0", "n1"), pod("web-1", "n1"))
	free := func(int) error { return nil }
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/web-1", event.CauseBudget)
	x.answer("shop/web-0", func(n int) error {
		if n == 1 {
			return budgetError(0, "no")
		}
		return free(n)
	})
	x.step(slowRetry)
	x.untilAsked("shop/web-0", 1)
	x.changePod("web-1", label("free"))
	x.until("web-1 to be gone", func() bool { return x.count(event.PodGone) == 1 })
	x.changePod("web-0", label("free"))
	if got := x.wait(done); got.err != nil || x.timesAsked("shop/web-1") != 1 {
		t.Errorf("%+v", got)
	}
}

// A pod recreated under the same name is another pod.
func TestReplacedPodIsLeftAlone(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pod("web-0", "n1"))
	replaced := func(int) error {
		x.deleteLocked(podsResource, "shop", "web-0")
		x.createLocked(pod("web-0", "n2"))
		return nil // the usual rules see another UID
	}
	x.answer("shop/web-0", replaced)
	got := x.wait(x.drain(t.Context(), x.drainer(), "n1"))
	if got.err != nil || got.Evicted != 0 || x.timesAsked("shop/web-0") != 1 {
		t.Errorf("%+v, asked %v", got, x.asked)
	}
	if _, err := x.client.CoreV1().Pods("shop").Get(t.Context(), "web-0", metav1.GetOptions{}); err != nil {
		t.Errorf("the new pod: %v", err)
	}
}

func TestThrottling(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"))
	x.answer("shop/a", func(n int) error {
		if n == 1 {
			return apierrors.NewTooManyRequests("later", 5)
		}
		return nil
	})
	d := x.drainer()
	done := x.drain(t.Context(), d, "n1")
	x.untilAsked("shop/a", 1)
	x.step(4 * time.Second)
	x.step(time.Second)
	if got := x.wait(done); got.err != nil || x.timesAsked("shop/a") != 2 {
		t.Errorf("%+v", got)
	}
	if d.limiter.halved != 1 {
		t.Errorf("halved %d times", d.limiter.halved)
	}
}

func TestOtherRefusalsAreTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		cause event.Cause
		pause time.Duration
	}{
		{"webhook", apierrors.NewBadRequest(`admission webhook "hold.example.com" denied the request: not now`), event.CauseError, firstRest},
		{"server error", apierrors.NewInternalError(errors.New("etcd")), event.CauseError, firstRest},
		{"server error with a time", apierrors.NewTimeoutError("conflicts", 10), event.CauseError, 10 * time.Second},
		{"budget unknown to the cache", budgetError(0, "The disruption budget b needs 2"), event.CauseBudget, firstRest},
		{"no connection", errors.New("connection refused"), event.CauseError, firstRest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pod("a", "n1"), pod("b", "n1"))
			x.answer("shop/a", func(n int) error {
				if n == 1 {
					return tt.err
				}
				return nil
			})
			done := x.drain(t.Context(), x.drainer(), "n1")
			b := x.untilBlocked("shop/a", tt.cause)
			if b.Message == "" {
				t.Errorf("%+v", b)
			}
			x.until("b to be gone", func() bool { return x.count(event.PodGone) == 1 })
			x.step(tt.pause)
			if got := x.wait(done); got.err != nil || got.Evicted != 2 || x.timesAsked("shop/a") != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestForbiddenEndsTheDrain(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"))
	x.answer("shop/a", func(int) error {
		return apierrors.NewForbidden(corev1.Resource("pods"), "a", errors.New(`User "u" cannot create resource "pods/eviction"`))
	})
	got := x.wait(x.drain(t.Context(), x.drainer(), "n1"))
	if !apierrors.IsForbidden(got.err) || len(got.Remaining) != 1 || !strings.Contains(got.Remaining[0].Blocker.Message, "pods/eviction") {
		t.Errorf("%+v", got)
	}
}

func TestNamespaceBeingDeleted(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"))
	err := apierrors.NewForbidden(corev1.Resource("pods"), "a", errors.New("unable to create new content"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	x.answer("shop/a", func(int) error { return err })
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/a", event.CauseTerminating)
	x.delete(podsResource, "shop", "a")
	if got := x.wait(done); got.err != nil || got.Evicted != 0 || x.timesAsked("shop/a") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestCriticalPodsGoLast(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a-critical", "n1", priority(2_000_000_000)), pod("b-node-critical", "n1", priority(2_000_001_000)),
		pod("high", "n1", priority(1_999_999_999)), pod("plain", "n1"))
	x.terminate = false
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.until("the plain ones to be asked for", func() bool { return len(x.asked) == 2 })
	x.until("them to be evicted", func() bool { return x.count(event.PodEvicted) == 2 })
	for i, name := range []string{"plain", "high"} {
		if n := x.timesAsked("shop/a-critical") + x.timesAsked("shop/b-node-critical"); n != 0 {
			t.Errorf("critical pods asked for while %d others are there", 2-i)
		}
		x.delete(podsResource, "shop", name)
	}
	x.untilAsked("shop/a-critical", 1)
	x.untilAsked("shop/b-node-critical", 1)
	x.delete(podsResource, "shop", "a-critical")
	x.delete(podsResource, "shop", "b-node-critical")
	if got := x.wait(done); got.err != nil || got.Gone != 4 {
		t.Errorf("%+v", got)
	}
}

func TestPodsThatComeLate(t *testing.T) {
	start := func(t *testing.T) (*world, <-chan outcome) {
		x := newWorld(t, node("n1"), pod("a", "n1"))
		x.terminate = false
		done := x.drain(t.Context(), x.drainer(), "n1")
		x.untilAsked("shop/a", 1)
		return x, done
	}
	t.Run("evicted", func(t *testing.T) {
		x, done := start(t)
		x.create(pod("late", "n1"))
		x.untilAsked("shop/late", 1)
		x.delete(podsResource, "shop", "a")
		x.delete(podsResource, "shop", "late")
		if got := x.wait(done); got.err != nil || got.Gone != 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("skipped", func(t *testing.T) {
		x, done := start(t)
		x.create(pod("late", "n1", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }))
		x.until("it to be skipped", func() bool { return x.count(event.PodSkipped) == 1 })
		x.delete(podsResource, "shop", "a")
		if got := x.wait(done); got.err != nil || got.Skipped != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("refused", func(t *testing.T) {
		x, done := start(t)
		x.create(pod("late", "n1", bare))
		x.untilBlocked("shop/late", event.CauseRefused)
		x.delete(podsResource, "shop", "a")
		got := x.wait(done)
		var refused *RefusedError
		if !errors.As(got.err, &refused) || !refused.Late || len(got.Remaining) != 1 || got.Gone != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("refused, but deleted by somebody", func(t *testing.T) {
		x, done := start(t)
		x.create(pod("late", "n1", bare))
		x.untilBlocked("shop/late", event.CauseRefused)
		x.delete(podsResource, "shop", "late")
		x.delete(podsResource, "shop", "a")
		if got := x.wait(done); got.err != nil {
			t.Errorf("%+v", got)
		}
	})
}

func TestRefusedNodeIsNotTouched(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"), pod("b", "n1", bare))
	got := x.wait(x.drain(t.Context(), x.drainer(), "n1"))
	var refused *RefusedError
	if !errors.As(got.err, &refused) || refused.Late || len(x.asked) != 0 || len(x.events) != 0 {
		t.Errorf("%+v, asked %v, told:\n%s", got, x.asked, x.log())
	}
}

func TestInterruption(t *testing.T) {
	for _, tt := range []struct {
		name      string
		interrupt func(x *world, cancel func())
		cause     error
	}{
		{"timeout", func(x *world, _ func()) { x.step(time.Minute) }, ErrTimeout},
		{"cancelled", func(_ *world, cancel func()) { cancel() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"), pod("slow", "n1", label("free")), pod("z-critical", "n1", label("free"), priority(2_000_000_000)))
			x.terminate = false
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := x.drain(ctx, x.drainer(func(o *Options) { o.Timeout = time.Minute }), "n1")
			x.untilBlocked("shop/web-0", event.CauseBudget)
			x.until("the other to be evicted", func() bool { return x.count(event.PodEvicted) == 1 })
			tt.interrupt(x, cancel)
			got := x.wait(done)
			var unfinished *UnfinishedError
			if !errors.As(got.err, &unfinished) || !errors.Is(got.err, tt.cause) {
				t.Fatalf("%v", got.err)
			}
			var remaining []string
			for _, r := range got.Remaining {
				remaining = append(remaining, r.Pod.Name+" "+string(r.Blocker.Cause))
			}
			if want := "slow terminating, web-0 budget, z-critical queued"; strings.Join(remaining, ", ") != want {
				t.Errorf("remaining %v, want %s", remaining, want)
			}
			if want := (event.Counts{Evicted: 1, Blocked: 3}); got.Counts != want {
				t.Errorf("%+v", got.Counts)
			}
		})
	}
}

func TestNodeDisappears(t *testing.T) {
	for name, tt := range map[string]struct {
		disappear func(*world)
		want      error
	}{
		"deleted": {func(x *world) { x.delete(nodesResource, "", "n1") }, ErrNodeDeleted},
		"replaced": {func(x *world) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.deleteLocked(nodesResource, "", "n1")
			x.createLocked(node("n1"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
			done := x.drain(t.Context(), x.drainer(), "n1")
			x.untilBlocked("shop/web-0", event.CauseBudget)
			tt.disappear(x)
			got := x.wait(done)
			gone := errors.Is(got.err, ErrNodeDeleted) || errors.Is(got.err, ErrNodeReplaced)
			if !gone || tt.want != nil && !errors.Is(got.err, tt.want) || len(got.Remaining) != 1 || len(x.asked) != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("never was", func(t *testing.T) {
		x := newWorld(t, node("n1"))
		if got := x.wait(x.drain(t.Context(), x.drainer(), "n9")); !errors.Is(got.err, ErrNodeDeleted) {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhyTerminatingPodsStay(t *testing.T) {
	silent := func(x *world) {
		change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown })
	}
	for _, tt := range []struct {
		name   string
		pod    func(*corev1.Pod)
		before func(*world)
		cause  event.Cause
	}{
		{"finalizer", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/hold"} }, func(*world) {}, event.CauseFinalizer},
		{"dead kubelet", func(*corev1.Pod) {}, silent, event.CauseKubelet},
		{"slow", func(*corev1.Pod) {}, func(*world) {}, event.CauseTerminating},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pod("a", "n1", tt.pod))
			x.terminate = false
			tt.before(x)
			done := x.drain(t.Context(), x.drainer(), "n1")
			x.until("it to be evicted", func() bool { return x.count(event.PodEvicted) == 1 })
			x.step(30 * time.Second)
			x.step(overdueSlack)
			x.untilBlocked("shop/a", tt.cause)
			x.delete(podsResource, "shop", "a")
			if got := x.wait(done); got.err != nil || got.Gone != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestPodsDeletedBefore(t *testing.T) {
	deleted := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.DeletionTimestamp = ptr.To(metav1.NewTime(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(-ago)))
			p.DeletionGracePeriodSeconds = ptr.To[int64](30)
			p.Finalizers = []string{"example.com/hold"}
		}
	}
	t.Run("waited for, not asked for", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1", deleted(0)))
		done := x.drain(t.Context(), x.drainer(), "n1")
		x.until("the drain to begin", func() bool { return x.count(event.NodePhase) == 1 })
		x.delete(podsResource, "shop", "a")
		if got := x.wait(done); got.err != nil || len(x.asked) != 0 || got.Evicted != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("asked for again with less patience", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1", deleted(0)))
		got := x.wait(x.drain(t.Context(), x.drainer(func(o *Options) { o.GracePeriod = ptr.To[int64](5) }), "n1"))
		if got.err != nil || len(x.asked) != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("skipped once it has taken too long", func(t *testing.T) {
		x := newWorld(t, node("n1"), pod("a", "n1", deleted(0)), pod("b", "n1", deleted(time.Hour)))
		done := x.drain(t.Context(), x.drainer(func(o *Options) { o.SkipWaitForDelete = time.Minute }), "n1")
		x.until("b to be skipped", func() bool { return x.count(event.PodSkipped) == 1 })
		for range 3 { // past its deadline, past the one for looking, past the limit
			x.step(25 * time.Second)
		}
		if got := x.wait(done); got.err != nil || got.Skipped != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func TestDrainerWorksAgainAndAgain(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), pdb("web", 1, 2), pod("web-0", "n1"), pod("web-1", "n2"))
	x.replace = true
	d := x.drainer()
	for _, n := range []string{"n1", "n2"} {
		if got := x.wait(x.drain(t.Context(), d, n)); got.err != nil || got.Evicted != 1 {
			t.Errorf("%+v", got)
		}
	}
	if x.refusals != 0 {
		t.Errorf("%d refused", x.refusals)
	}
}

func TestDrainTwiceAtOnce(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
	ctx, cancel := context.WithCancel(t.Context())
	d := x.drainer()
	first := x.drain(ctx, d, "n1")
	x.untilBlocked("shop/web-0", event.CauseBudget)
	if got := x.wait(x.drain(t.Context(), d, "n1")); !errors.Is(got.err, ErrBusy) {
		t.Errorf("%+v", got)
	}
	cancel()
	x.wait(first)
}

func TestWatchEnds(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
	d := x.drainer()
	done := x.drain(t.Context(), d, "n1")
	x.untilBlocked("shop/web-0", event.CauseBudget)
	x.watcher.Stop()
	if got := x.wait(done); got.err == nil || len(got.Remaining) != 1 {
		t.Errorf("%+v", got)
	}
}

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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

// statefulSet is one of so many members.
func statefulSet(name string, replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("set-" + name)},
		Spec:       appsv1.StatefulSetSpec{Replicas: &replicas},
	}
}

// member is a running, ready pod of a StatefulSet.
func member(set string, ordinal int, node string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := pod(fmt.Sprintf("%s-%d", set, ordinal), node, label(set))
	p.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: types.UID("set-" + set), Controller: ptr.To(true)},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func homeless(p *corev1.Pod) {
	unready(p)
	p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/2 nodes are available: 2 Insufficient cpu.",
	})
}

func becomeReady(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionTrue }

// countLocked notes an eviction at which not all other members of the pod's StatefulSet are there.
func (x *world) countLocked(pod *corev1.Pod) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "StatefulSet" || pod.DeletionTimestamp != nil {
		return
	}
	obj, err := x.client.Tracker().Get(setsResource, pod.Namespace, owner.Name)
	if err != nil {
		return // an orphan
	}
	wanted, others := *obj.(*appsv1.StatefulSet).Spec.Replicas, 0
	for _, p := range x.podsLocked() {
		if metav1.IsControlledBy(&p, obj.(*appsv1.StatefulSet)) && p.UID != pod.UID && ready(&p) {
			others++
		}
	}
	if others < int(wanted)-1 {
		x.breaches = append(x.breaches, fmt.Sprintf("%s was evicted with %d others of %d there", pod.Name, others, wanted))
	}
}

// trio is a StatefulSet of three, of which the first two are on nodes of their own.
func trio(t *testing.T) *world {
	t.Helper()
	return newWorld(t, node("n1"), node("n2"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n2"), member("db", 2, "n9"))
}

func (x *world) notAsked(pods ...string) {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range pods {
		if n := x.timesAsked("shop/" + p); n > 0 {
			x.t.Errorf("%s was asked for %d times", p, n)
		}
	}
}

func (x *world) noBreach() {
	x.t.Helper()
	if len(x.breaches) > 0 {
		x.t.Errorf("breaches: %v; events:\n%s", x.breaches, x.log())
	}
}

// Two nodes are drained at once, with a member each, and no budget.
func TestQuorumOverTwoNodes(t *testing.T) {
	x := trio(t)
	d := x.drainer()
	first := x.drain(t.Context(), d, "n1")
	x.wait(first)
	second := x.drain(t.Context(), d, "n2")
	b := x.untilBlocked("shop/db-1", event.CauseQuorum)
	if want := "StatefulSet shop/db keeps its quorum: 2 of its 3 members exist"; b.Message != want || !strings.Contains(b.Hint, "statefulset db") {
		t.Errorf("%+v", b)
	}
	x.create(member("db", 0, "n9", unready))
	x.step(retell)
	x.until("it to be told that db-0 is not ready", func() bool {
		return slices.ContainsFunc(x.events, func(e event.Event) bool {
			return e.Blocker != nil && e.Blocker.Message == "StatefulSet shop/db keeps its quorum: db-0 is not Ready"
		})
	})
	for range 3 { // time alone lets nobody go
		x.step(slowRetry)
	}
	x.notAsked("db-1")
	x.changePod("db-0", becomeReady)
	if got := x.wait(second); got.err != nil || got.Gone != 1 {
		t.Errorf("%+v", got)
	}
	x.noBreach()
}

func TestQuorumOnOneNode(t *testing.T) {
	x := newWorld(t, node("n1"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n1"), member("db", 2, "n9"), pod("web", "n1"))
	x.terminate = false
	done := x.drain(t.Context(), x.drainer(), "n1")
	b := x.untilBlocked("shop/db-1", event.CauseQuorum)
	if !strings.HasSuffix(b.Message, ": db-0 is terminating") {
		t.Errorf("%+v", b)
	}
	x.untilAsked("shop/web", 1) // holds nobody else up
	x.delete(podsResource, "shop", "web")
	x.delete(podsResource, "shop", "db-0")
	x.notAsked("db-1")
	x.terminate = true
	x.create(member("db", 0, "n9"))
	if got := x.wait(done); got.err != nil || got.Gone != 3 {
		t.Errorf("%+v", got)
	}
	x.noBreach()
}

// A member that finds no node keeps the others where they are.
func TestQuorumWithAPendingMember(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n2"), member("db", 2, "", homeless))
	ctx, cancel := context.WithCancel(t.Context())
	d := x.drainer()
	first, second := x.drain(ctx, d, "n1"), x.drain(ctx, d, "n2")
	for _, p := range []string{"shop/db-0", "shop/db-1"} {
		b := x.untilBlocked(p, event.CauseNoRoom)
		if !strings.Contains(b.Message, "keeps its quorum: db-2 is not Ready; pod shop/db-2 fits on no node: 0/2 nodes") {
			t.Errorf("%+v", b)
		}
	}
	x.notAsked("db-0", "db-1")
	cancel()
	for _, done := range []<-chan outcome{first, second} {
		if got := x.wait(done); len(got.Remaining) != 1 || got.Remaining[0].Blocker.Cause != event.CauseNoRoom {
			t.Errorf("%+v", got)
		}
	}
}

// The member that is not ready is the missing one: it may go, and before the others.
func TestQuorumLetsTheUnreadyMemberGo(t *testing.T) {
	x := newWorld(t, node("n1"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n1", unready), member("db", 2, "n9"))
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilAsked("shop/db-1", 1)
	x.untilBlocked("shop/db-0", event.CauseQuorum)
	x.notAsked("db-0")
	x.create(member("db", 1, "n9"))
	if got := x.wait(done); got.err != nil || got.Gone != 2 {
		t.Errorf("%+v", got)
	}
	x.noBreach()
}

func TestQuorumKeepsTwoUnreadyMembers(t *testing.T) {
	x := newWorld(t, node("n1"), statefulSet("db", 3), member("db", 0, "n1", unready), member("db", 1, "n1", unready), member("db", 2, "n9"))
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/db-0", event.CauseQuorum)
	x.untilBlocked("shop/db-1", event.CauseQuorum)
	x.notAsked("db-0", "db-1")
	x.changePod("db-0", becomeReady)
	x.untilAsked("shop/db-1", 1)
	x.create(member("db", 1, "n9"))
	if got := x.wait(done); got.err != nil || got.Gone != 2 {
		t.Errorf("%+v", got)
	}
	x.noBreach()
}

func TestWhatIsNoQuorum(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world []*corev1.Pod
		set   *appsv1.StatefulSet
		edit  func(*Options)
	}{
		{"two members", []*corev1.Pod{member("db", 0, "n1"), member("db", 1, "n1")}, statefulSet("db", 2), func(*Options) {}},
		{"ten members", []*corev1.Pod{member("db", 0, "n1"), member("db", 1, "n1")}, statefulSet("db", 10), func(*Options) {}},
		{"a set that is not there", []*corev1.Pod{member("x", 0, "n1"), member("x", 1, "n1")}, statefulSet("db", 3), func(*Options) {}},
		{"evictions disabled", []*corev1.Pod{member("db", 0, "n1"), member("db", 1, "n1")}, statefulSet("db", 3), func(o *Options) { o.DisableEviction = true }},
		{"finished", []*corev1.Pod{
			member("db", 0, "n1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			member("db", 1, "n9"), member("db", 2, "n9", unready),
		}, statefulSet("db", 3), func(*Options) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, node("n1"), tt.set)
			for _, p := range tt.world {
				x.create(p)
			}
			if got := x.wait(x.drain(t.Context(), x.drainer(tt.edit), "n1")); got.err != nil || x.count(event.PodBlocked) != 0 {
				t.Errorf("%+v; events:\n%s", got, x.log())
			}
		})
	}
}

// A budget may be stricter than the quorum, never looser; and a pod that waits for
// its quorum uses no budget up.
func TestQuorumAndBudget(t *testing.T) {
	t.Run("stricter", func(t *testing.T) {
		x := newWorld(t, node("n1"), pdb("db", 0, 3), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n9"), member("db", 2, "n9"))
		ctx, cancel := context.WithCancel(t.Context())
		done := x.drain(ctx, x.drainer(), "n1")
		x.untilBlocked("shop/db-0", event.CauseBudget)
		cancel()
		x.wait(done)
		x.notAsked("db-0")
	})
	t.Run("looser", func(t *testing.T) {
		x := newWorld(t, node("n1"), pdb("db", 2, 4), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n1"), member("db", 2, "n9"),
			pod("other", "n1", label("db")))
		done := x.drain(t.Context(), x.drainer(), "n1")
		x.until("db-0 to be gone", func() bool { return x.count(event.PodGone) >= 1 })
		x.step(stagger)
		x.untilBlocked("shop/db-1", event.CauseQuorum)
		x.untilAsked("shop/other", 1)
		x.notAsked("db-1")
		x.create(member("db", 0, "n9"))
		x.create(pod("another", "n9", label("db")))
		x.look()
		if got := x.wait(done); got.err != nil || got.Gone != 3 || x.refusals != 0 {
			t.Errorf("%+v", got)
		}
		x.noBreach()
	})
	t.Run("unready pods pass by the budget alone", func(t *testing.T) {
		always := func(b *policyv1.PodDisruptionBudget) {
			b.Spec.UnhealthyPodEvictionPolicy = ptr.To(policyv1.AlwaysAllow)
		}
		x := newWorld(t, node("n1"), pdb("db", 0, 3, always), statefulSet("db", 3),
			member("db", 0, "n1", unready), member("db", 1, "n9", unready), member("db", 2, "n9"))
		done := x.drain(t.Context(), x.drainer(), "n1")
		x.untilBlocked("shop/db-0", event.CauseQuorum)
		x.notAsked("db-0")
		x.changePod("db-1", becomeReady)
		if got := x.wait(done); got.err != nil {
			t.Errorf("%+v", got)
		}
		x.noBreach()
	})
}

// A set that is scaled is a quorum from then on, or no longer.
func TestQuorumIsScaled(t *testing.T) {
	x := newWorld(t, node("n1"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n9"), member("db", 2, "n9", unready))
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/db-0", event.CauseQuorum)
	change(x, &appsv1.StatefulSet{}, "shop", "db", func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr.To[int32](2) })
	if got := x.wait(done); got.err != nil || got.Gone != 1 {
		t.Errorf("%+v", got)
	}
}

// A member whose turn at the API server has not come is called back.
func TestQuorumCallsBack(t *testing.T) {
	x := newWorld(t, node("n1"), node("n2"), statefulSet("db", 3), pod("web", "n1"), member("db", 0, "n2"), member("db", 1, "n9"), member("db", 2, "n9"))
	x.answer("shop/web", func(n int) error {
		if n == 1 {
			return apierrors.NewTooManyRequests("later", 5)
		}
		return nil
	})
	d := x.drainer()
	first := x.drain(t.Context(), d, "n1")
	x.untilAsked("shop/web", 1)
	x.until("the pause to begin", x.clock.HasWaiters)
	second := x.drain(t.Context(), d, "n2")
	x.until("the second drain to begin", func() bool { return x.count(event.NodePhase) == 2 })
	x.changePod("db-2", unready)
	x.untilChanged("db-2", unready)
	x.step(5 * time.Second)
	x.wait(first)
	x.untilBlocked("shop/db-0", event.CauseQuorum)
	x.notAsked("db-0")
	x.changePod("db-2", becomeReady)
	if got := x.wait(second); got.err != nil {
		t.Errorf("%+v", got)
	}
	x.noBreach()
}

// untilChanged waits until the watcher knows that a pod is as it was edited.
func (x *world) untilChanged(name string, edit func(*corev1.Pod)) {
	x.t.Helper()
	news := x.watcher.Subscribe()
	defer news.Close()
	deadline := time.After(patience)
	for {
		p := x.watcher.Pod("shop", name)
		want := p.DeepCopy()
		edit(want)
		if ready(p) == ready(want) {
			return
		}
		select {
		case <-news.Ready():
			news.Take()
		case <-deadline:
			x.t.Fatalf("the watcher does not hear of %s", name)
		}
	}
}

// As long as nobody knows whether a member was evicted, it counts as away.
func TestQuorumInDoubt(t *testing.T) {
	lost := errors.New("connection reset")
	denied := apierrors.NewBadRequest(`admission webhook "w" denied the request`)
	once := func(err error) func(int) error {
		return func(n int) error {
			if n == 1 {
				return err
			}
			return nil
		}
	}
	start := func(t *testing.T, err func(int) error) (x *world, d *Drainer) {
		x = trio(t)
		x.answer("shop/db-0", err)
		d = x.drainer()
		return x, d
	}
	t.Run("asked again", func(t *testing.T) {
		x, d := start(t, once(lost))
		first := x.drain(t.Context(), d, "n1")
		x.untilBlocked("shop/db-0", event.CauseError)
		second := x.drain(t.Context(), d, "n2")
		x.until("the second drain to begin", func() bool { return x.count(event.NodePhase) == 2 })
		x.step(firstRest)
		x.wait(first)
		x.notAsked("db-1")
		x.create(member("db", 0, "n9"))
		if got := x.wait(second); got.err != nil {
			t.Errorf("%+v", got)
		}
		x.noBreach()
	})
	t.Run("denied", func(t *testing.T) {
		x, d := start(t, once(denied))
		first := x.drain(t.Context(), d, "n1")
		x.untilBlocked("shop/db-0", event.CauseError)
		x.wait(x.drain(t.Context(), d, "n2")) // db-0 stays, so db-1 may go
		x.step(firstRest)
		x.untilBlocked("shop/db-0", event.CauseQuorum)
		x.create(member("db", 1, "n9"))
		if got := x.wait(first); got.err != nil {
			t.Errorf("%+v", got)
		}
		x.noBreach()
	})
	t.Run("lost, then denied", func(t *testing.T) {
		x, d := start(t, func(n int) error { return []error{lost, denied, nil}[min(n, 3)-1] })
		first := x.drain(t.Context(), d, "n1")
		x.untilBlocked("shop/db-0", event.CauseError)
		second := x.drain(t.Context(), d, "n2")
		x.until("the second drain to begin", func() bool { return x.count(event.NodePhase) == 2 })
		x.step(firstRest)
		x.until("it to be denied", func() bool { return x.count(event.PodBlocked) == 2 })
		x.step(2 * firstRest)
		x.wait(first)
		x.notAsked("db-1")
		x.create(member("db", 0, "n9"))
		x.wait(second)
		x.noBreach()
	})
	t.Run("given up", func(t *testing.T) {
		x, d := start(t, once(lost))
		ctx, cancel := context.WithCancel(t.Context())
		first := x.drain(ctx, d, "n1")
		x.untilBlocked("shop/db-0", event.CauseError)
		second := x.drain(t.Context(), d, "n2")
		x.until("the second drain to begin", func() bool { return x.count(event.NodePhase) == 2 })
		cancel()
		x.wait(first)
		x.step(requestTimeout - time.Second)
		x.notAsked("db-1")
		x.step(time.Second)
		if got := x.wait(second); got.err != nil {
			t.Errorf("%+v", got)
		}
		x.noBreach()
	})
}

func TestDryRunServerAsksTheQuorum(t *testing.T) {
	x := newWorld(t, node("n1"), statefulSet("db", 3), member("db", 0, "n1"), member("db", 1, "n9"), member("db", 2, "n9", unready),
		statefulSet("kv", 3), member("kv", 0, "n1"), member("kv", 1, "n9"), member("kv", 2, "n9"))
	got := x.wait(x.drain(t.Context(), x.drainer(dryRun(DryRunServer)), "n1"))
	if want := (event.Counts{Evicted: 1, Blocked: 1}); got.err != nil || got.Counts != want {
		t.Errorf("%+v", got)
	}
	if len(got.Remaining) != 1 || got.Remaining[0].Pod.Name != "db-0" || got.Remaining[0].Blocker.Cause != event.CauseQuorum {
		t.Errorf("%+v", got.Remaining)
	}
}

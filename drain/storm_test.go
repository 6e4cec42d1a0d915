// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/event"
)

// TestStorm drains nodes at the same time, with budgets over all of them, on an
// API server that answers with everything it has. However it goes, every pod
// leaves, no budget lets too many go (the world's API server would refuse, and
// refusals count), no quorum set loses a second member, and nothing is asked for
// that has no hope.
func TestStorm(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { storm(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func storm(t *testing.T, r *rand.Rand) {
	t.Helper()
	x := newWorld(t)
	x.replace = true
	nodes := 1 + r.IntN(4)
	for n := range nodes {
		x.create(node(fmt.Sprintf("n%d", n)))
	}
	pods, faults := 0, 0
	for set := range r.IntN(4) {
		name, size := fmt.Sprintf("set%d", set), 3+r.IntN(3)
		x.create(statefulSet(name, int32(size)))
		for i := range size {
			p := member(name, i, fmt.Sprintf("n%d", r.IntN(nodes)))
			x.create(p)
			pods++
			if r.IntN(2) == 0 {
				faults++
				x.answer("shop/"+p.Name, fault(r.IntN(5)))
			}
		}
		if r.IntN(3) == 0 {
			x.create(pdb(name, int32(1+r.IntN(3)), size))
		}
	}
	for app := range 1 + r.IntN(4) {
		name, size := fmt.Sprintf("app%d", app), 1+r.IntN(8)
		for i := range size {
			p := pod(fmt.Sprintf("%s-%d", name, i), fmt.Sprintf("n%d", r.IntN(nodes)), label(name))
			if r.IntN(8) == 0 {
				p.Spec.Priority = new(int32(systemCritical))
			}
			x.create(p)
			pods++
			if r.IntN(3) == 0 {
				faults++
				x.answer("shop/"+p.Name, fault(r.IntN(5)))
			}
		}
		if r.IntN(4) > 0 {
			x.create(pdb(name, int32(1+r.IntN(3)), size))
		}
	}
	x.look()

	d := x.drainer()
	var drains []<-chan outcome
	for n := range nodes {
		drains = append(drains, x.drain(t.Context(), d, fmt.Sprintf("n%d", n)))
	}
	total := event.Counts{}
	for _, done := range drains {
		got := x.later(done)
		if got.err != nil {
			t.Errorf("%v; events:\n%s", got.err, x.log())
		}
		total.Evicted += got.Evicted
		total.Gone += got.Gone
	}
	x.noBreach()
	if total.Evicted != pods || total.Gone != pods {
		t.Errorf("%d pods: %+v", pods, total)
	}
	if x.refusals > 0 || len(x.asked) > pods+faults {
		t.Errorf("%d pods, %d faults: %d requests, %d refused by budgets", pods, faults, len(x.asked), x.refusals)
	}
}

// fault is an answer that comes once.
func fault(kind int) func(n int) error {
	err := []error{
		apierrors.NewTooManyRequests("later", 2),
		apierrors.NewInternalError(errors.New("etcd")),
		apierrors.NewTimeoutError("conflicts", 10),
		apierrors.NewConflict(corev1.Resource("pods"), "p", errors.New("the ResourceVersion in the precondition does not match")),
		errors.New("connection reset"),
	}[kind]
	return func(n int) error {
		if n == 1 {
			return err
		}
		return nil
	}
}

// later waits for the end of a drain while time passes.
func (x *world) later(done <-chan outcome) outcome {
	x.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		select {
		case o := <-done:
			return o
		case <-tick.C:
			x.clock.Step(100 * time.Millisecond)
			x.reconcile()
		case <-deadline:
			x.t.Fatalf("the drain does not end; events:\n%s", x.log())
		}
	}
}

// reconcile is the StatefulSet controller and a kubelet: a member that is missing
// is made again, and one that was made before becomes ready.
func (x *world) reconcile() {
	x.mu.Lock()
	defer x.mu.Unlock()
	obj, err := x.client.Tracker().List(setsResource, appsv1.SchemeGroupVersion.WithKind("StatefulSet"), "")
	if err != nil {
		x.t.Errorf("list sets: %v", err)
		return
	}
	for _, set := range obj.(*appsv1.StatefulSetList).Items {
		for i := range int(*set.Spec.Replicas) {
			p := member(set.Name, i, "elsewhere", unready)
			now, err := x.client.Tracker().Get(podsResource, p.Namespace, p.Name)
			switch {
			case err != nil:
				x.createLocked(p)
			case !ready(now.(*corev1.Pod)):
				fresh := now.(*corev1.Pod).DeepCopy()
				becomeReady(fresh)
				x.updateLocked(fresh)
			default:
				continue
			}
			x.lookLocked()
		}
	}
}

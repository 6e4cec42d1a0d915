// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

// silence has a node's kubelet not answer any more, with nobody having declared
// anything.
func (x *world) silence(name string) {
	change(x, &corev1.Node{}, "", name, func(n *corev1.Node) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}
	})
}

// warnings are the texts and hints of the warnings so far.
func (x *world) warnings() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var texts []string
	for _, e := range x.events {
		if e.Type == event.Warning {
			texts = append(texts, e.Message+" / "+e.Hint)
		}
	}
	return texts
}

// A node dies while it is drained: that is told at once, with the way out, and not when
// the grace periods are over. What remains at the end says so of each pod.
func TestLostDuringADrain(t *testing.T) {
	x := newWorld(t, node("n1"), pod("web-0", "n1", label("a")), pod("web-1", "n1", label("b")))
	x.terminate = false
	done := x.drain(t.Context(), x.drainer(func(o *Options) { o.Timeout = time.Hour }), "n1")
	x.until("both to be asked for", func() bool { return x.count(event.PodEvicted) == 2 })
	for _, name := range []string{"web-0", "web-1"} {
		x.changePod(name, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: x.clock.Now().Add(2 * time.Hour)} })
	}
	x.silence("n1")
	x.until("the loss to be told", func() bool { return x.count(event.Warning) == 1 })
	told := x.warnings()[0]
	for _, want := range []string{"is lost: its kubelet does not answer", "2 pods will stay Terminating", "refit drain n1 --confirm-node-is-off"} {
		if !strings.Contains(told, want) {
			t.Errorf("no %q in %q", want, told)
		}
	}
	x.back("n1")
	x.until("the return to be told", func() bool { return x.count(event.Warning) == 2 })
	x.silence("n1")
	x.until("the second loss to be told", func() bool { return x.count(event.Warning) == 3 })
	x.step(time.Hour)
	got := x.wait(done)
	if got.err == nil || len(got.Remaining) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, r := range got.Remaining {
		if r.Blocker.Cause != event.CauseKubelet || !strings.Contains(r.Blocker.Hint, "--confirm-node-is-off") {
			t.Errorf("%+v", r)
		}
	}
}

// Who does not wait for kubelets is not told that one is silent.
func TestLostDuringADrainThatDoesNotWait(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"grace period 0": func(o *Options) { o.GracePeriod = ptr.To[int64](0) },
		"skips":          func(o *Options) { o.SkipWaitForDelete = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			x := newWorld(t, node("n1"), pdb("web", 0, 1), pod("web-0", "n1"))
			done := x.drain(t.Context(), x.drainer(edit), "n1")
			x.untilBlocked("shop/web-0", event.CauseBudget)
			x.silence("n1")
			x.delete(podsResource, "shop", "web-0")
			x.wait(done)
			if told := x.warnings(); len(told) != 0 {
				t.Error(told)
			}
		})
	}
}

// A Job's finalizer is not in the way of a pod that has not ended: the Job controller
// takes it off by itself afterwards.
func TestFinalizerOfAJob(t *testing.T) {
	x := newWorld(t, node("n1"), pod("job-0", "n1", func(p *corev1.Pod) {
		p.Finalizers = []string{batchv1.JobTrackingFinalizer}
		p.DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)}
	}))
	done := x.drain(t.Context(), x.drainer(), "n1")
	if b := x.untilBlocked("shop/job-0", event.CauseTerminating); strings.Contains(b.Message, "finalizer") {
		t.Errorf("%+v", b)
	}
	x.delete(podsResource, "shop", "job-0")
	x.wait(done)
}

// What somebody else has had deleted is waited for, and counted by nobody.
func TestDryRunOfTerminatingPods(t *testing.T) {
	for _, how := range []DryRun{DryRunClient, DryRunServer} {
		x := newWorld(t, node("n1"), pod("a", "n1"), pod("b", "n1", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)} }))
		got := x.wait(x.drain(t.Context(), x.drainer(dryRun(how)), "n1"))
		if got.err != nil || got.Evicted != 1 || got.Blocked != 0 || x.count(event.PodEvicted) != 1 {
			t.Errorf("%s: %+v, told:\n%s", how, got, x.log())
		}
	}
}

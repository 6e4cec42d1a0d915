// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"refit.dev/refit/event"
)

// gateAt is a gate whose budget allows so much, at a version.
func gateAt(version string, allowed int32, disrupted ...string) *gate {
	g := newGate(types.NamespacedName{Namespace: "shop", Name: "web"})
	g.know(pdb("web", 1, 3))
	g.pdb.ResourceVersion = version
	g.pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: 1, DisruptionsAllowed: allowed, DesiredHealthy: 2, CurrentHealthy: 2 + allowed, ExpectedPods: 3,
		DisruptedPods: map[string]metav1.Time{},
	}
	for _, name := range disrupted {
		g.pdb.Status.DisruptedPods[name] = metav1.Now()
	}
	return g
}

// readyAt is a pod of the gate's budget that became Ready at a time.
func readyAt(at time.Time) *corev1.Pod {
	p := pod("web-1", "n")
	p.Labels = map[string]string{"app": "web"}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(at)}}
	return p
}

func TestGateRoom(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	charged := func(g *gate, n int) {
		for i := range n {
			uid := types.UID(rune('a' + i))
			g.charged[uid] = charge{pod: &podDrain{name: event.Pod{Name: string(uid)}, node: &nodeDrain{}, pod: pod("x", "n")}, version: "7"}
		}
	}
	for _, tt := range []struct {
		name  string
		gate  *gate
		edit  func(*gate)
		yes   bool
		later time.Time
	}{
		{"allows one", gateAt("7", 1), func(*gate) {}, true, time.Time{}},
		{"allows none", gateAt("7", 0), func(*gate) {}, false, time.Time{}},
		{"negative", gateAt("7", -1), func(*gate) {}, false, time.Time{}},
		{"deleted", gateAt("7", 1), func(g *gate) { g.pdb = nil }, false, time.Time{}},
		{"not observed", gateAt("7", 1), func(g *gate) { g.pdb.Generation = 2 }, false, time.Time{}},
		{"used up by one under way", gateAt("7", 1), func(g *gate) { g.passed = 1 }, false, time.Time{}},
		{"used up by one just accepted", gateAt("7", 1), func(g *gate) { charged(g, 1) }, false, time.Time{}},
		{"used up by both", gateAt("7", 2), func(g *gate) { g.passed = 1; charged(g, 1) }, false, time.Time{}},
		{"room beside both", gateAt("7", 3), func(g *gate) { g.passed = 1; charged(g, 1) }, true, time.Time{}},
		{"refused at this version", gateAt("7", 1), func(g *gate) { g.close("7", answer{}) }, false, time.Time{}},
		{"refused at an earlier version", gateAt("8", 1), func(g *gate) { g.close("7", answer{}) }, true, time.Time{}},
		{"just after another one", gateAt("7", 2), func(g *gate) { g.passed, g.lastPassed = 1, now }, false, now.Add(stagger)},
		{"the controller is not done", gateAt("8", 1, "other"), func(g *gate) { g.lastPassed = now }, false, now.Add(stagger)},
		{"a while after another one", gateAt("7", 2), func(g *gate) { g.passed, g.lastPassed = 1, now.Add(-stagger) }, true, time.Time{}},
		{"a pod became ready a moment ago", gateAt("7", 1), func(g *gate) { g.stir(readyAt(now), now) }, false, now.Add(stagger)},
		{"it did before another one was evicted", gateAt("7", 2), func(g *gate) { g.stir(readyAt(now), now.Add(-stagger/2)); g.passed, g.lastPassed = 1, now }, false, now.Add(stagger)},
		{"a while ago", gateAt("7", 1), func(g *gate) { g.stir(readyAt(now), now.Add(-stagger)) }, true, time.Time{}},
		{"and the status shows it", gateAt("7", 1), func(g *gate) { g.stir(readyAt(now), now); g.see(gateAt("8", 1).pdb) }, true, time.Time{}},
		{"and the status is of another matter", gateAt("7", 1), func(g *gate) { g.stir(readyAt(now), now); g.see(g.pdb) }, false, now.Add(stagger)},
		{"a pod is ready for long", gateAt("7", 1), func(g *gate) { g.stir(readyAt(now.Add(-time.Minute)), now) }, true, time.Time{}},
		{"a pod of another budget became ready", gateAt("7", 1), func(g *gate) {
			p := readyAt(now)
			p.Labels = nil
			g.stir(p, now)
		}, true, time.Time{}},
		{"a pod became ready and is terminating", gateAt("7", 1), func(g *gate) {
			p := readyAt(now)
			p.DeletionTimestamp = ptr.To(metav1.NewTime(now))
			g.stir(p, now)
		}, true, time.Time{}},
		{"just after one that is settled", gateAt("9", 1), func(g *gate) { g.lastPassed = now }, true, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.edit(tt.gate)
			if yes, later := tt.gate.room(now); yes != tt.yes || !later.Equal(tt.later) {
				t.Errorf("room = %v, %v; want %v, %v", yes, later, tt.yes, tt.later)
			}
		})
	}
}

func TestGateSettles(t *testing.T) {
	there := func() *podDrain { return &podDrain{name: event.Pod{Name: "a"}, node: &nodeDrain{}, pod: pod("a", "n")} }
	terminating := there()
	terminating.pod.DeletionTimestamp = ptr.To(metav1.Now())
	gone := there()
	gone.gone = true
	abandoned := there()
	abandoned.node.ended = true
	for _, tt := range []struct {
		name    string
		gate    *gate
		pod     *podDrain
		settled bool
	}{
		{"status unchanged", gateAt("7", 1), there(), false},
		{"status unchanged, though the pod is gone", gateAt("7", 1), gone, false},
		{"listed", gateAt("8", 0, "a"), there(), true},
		{"status changed by others", gateAt("8", 1), there(), false},
		{"listed and taken off again", gateAt("9", 0), terminating, true},
		{"gone and taken off again", gateAt("9", 0), gone, true},
		{"nobody looks at the pod any more", gateAt("9", 0), abandoned, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.gate.charged["uid"] = charge{pod: tt.pod, version: "7"}
			tt.gate.settle()
			if settled := len(tt.gate.charged) == 0; settled != tt.settled {
				t.Errorf("settled %v, want %v", settled, tt.settled)
			}
		})
	}
}

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := newLimiter()
	if l.room(0, now) != firstLimit || l.room(firstLimit-1, now) != 1 || l.room(firstLimit+5, now) != 0 {
		t.Error("the first limit is not kept")
	}
	for range 1000 {
		l.answered()
	}
	if l.room(0, now) != lastLimit {
		t.Errorf("grew to %d", l.room(0, now))
	}
	l.throttled(0, now, 5*time.Second)
	l.throttled(0, now, 2*time.Second) // of the same burst
	if l.room(0, now.Add(4*time.Second)) != 0 || l.room(0, now.Add(5*time.Second)) != lastLimit/2 {
		t.Errorf("after throttling: %+v", l)
	}
	for range lastLimit / 2 { // one round of answers
		l.answered()
	}
	if got := l.room(0, now.Add(time.Minute)); got != lastLimit/2 && got != lastLimit/2+1 {
		t.Errorf("grew to %d in one round", got)
	}
	for era := 1; era < 20; era++ {
		l.throttled(era, now, 0)
	}
	if got := l.room(0, now.Add(time.Minute)); got != 1 {
		t.Errorf("shrank to %d", got)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/event"
)

// lose makes a node lost and out of service; back makes it Ready.
func (x *world) lose(name string) {
	change(x, &corev1.Node{}, "", name, func(n *corev1.Node) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}
		n.Spec.Taints = nil
		tainted(n)
	})
}

func (x *world) back(name string) {
	change(x, &corev1.Node{}, "", name, func(n *corev1.Node) {
		n.Status.Conditions[0].Status = corev1.ConditionTrue
	})
}

func tolerant(p *corev1.Pod) {
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

// evictedFor are the pods that were told to be evicted, by the reason that was given.
func (x *world) evictedFor(reason string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var names []string
	for _, e := range x.events {
		if e.Type == event.PodEvicted && e.Reason == reason {
			names = append(names, e.Pod.Name)
		}
	}
	slices.Sort(names)
	return names
}

// A node is declared out of service while its pods wait: who waits for a budget, and
// who has yet to be asked for, is left to the taint; who tolerates it goes on waiting.
func TestOutOfServiceDuringADrain(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 0, 3), pod("web-0", "n1"), pod("web-1", "n1"), pod("web-2", "n1", tolerant))
	x.terminate = false
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.untilBlocked("shop/web-0", event.CauseBudget)
	x.lose("n1")
	x.until("the drain to know", func() bool { return x.count(event.Warning) == 1 })
	x.changePod("web-0", func(p *corev1.Pod) { now := metav1.NewTime(x.clock.Now()); p.DeletionTimestamp = &now })
	x.until("web-0 to be expelled", func() bool { return x.count(event.PodEvicted) == 1 })
	x.delete(podsResource, "shop", "web-0")
	x.delete(podsResource, "shop", "web-1") // nobody has seen it terminate
	x.until("both to be gone", func() bool { return x.count(event.PodGone) == 2 })
	x.delete(podsResource, "shop", "web-2")
	got := x.wait(done)
	if got.err != nil || got.Evicted != 2 || got.Gone != 2 || x.timesAsked("shop/web-0")+x.timesAsked("shop/web-1") != 0 {
		t.Errorf("%+v, asked %v, told:\n%s", got, x.asked, x.log())
	}
	if names := strings.Join(x.evictedFor(ReasonOutOfService), " "); names != "web-0 web-1" {
		t.Errorf("expelled: %s", names)
	}
}

// The node is out of service from the start, and back before its pods were deleted:
// they are drained as those of any node.
func TestBackDuringADrain(t *testing.T) {
	x := newWorld(t, node("n1"), pdb("web", 2, 2), pod("web-0", "n1"), pod("web-1", "n1"))
	x.lose("n1")
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.until("the drain to begin", func() bool { return x.count(event.NodePhase) == 1 })
	x.back("n1")
	got := x.wait(done)
	if got.err != nil || got.Evicted != 2 || len(x.evictedFor(ReasonOutOfService)) != 0 || x.timesAsked("shop/web-0") == 0 {
		t.Errorf("%+v, asked %v, told:\n%s", got, x.asked, x.log())
	}
}

// The taint is quicker than the drain with beginning: what was terminating before
// counts for nobody, the others for the drain, gone already or not.
func TestTheTaintIsQuicker(t *testing.T) {
	x := newWorld(t, node("n1"), pod("a", "n1"), pod("b", "n1"), pod("c-before", "n1"), pod("d", "n1"))
	x.lose("n1")
	d := x.drainer()
	all := d.Select("n1").Leave
	doomed := []*corev1.Pod{all[0], all[1], all[3]}
	news := d.watcher.Subscribe()
	defer news.Close()
	for _, name := range []string{"b", "c-before"} {
		x.changePod(name, func(p *corev1.Pod) { now := metav1.NewTime(x.clock.Now()); p.DeletionTimestamp = &now })
	}
	x.delete(podsResource, "shop", "a")
	for deadline := time.After(patience); d.watcher.Pod("shop", "a") != nil || d.watcher.Pod("shop", "b").DeletionTimestamp == nil ||
		d.watcher.Pod("shop", "c-before").DeletionTimestamp == nil; {
		select {
		case <-news.Ready():
			news.Take()
		case <-deadline:
			t.Fatal("the watch does not know")
		}
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := d.drain(t.Context(), "n1", doomed)
		done <- outcome{result, err}
	}()
	x.until("two to be counted", func() bool { return x.count(event.PodEvicted) == 2 })
	for _, name := range []string{"b", "c-before", "d"} {
		x.delete(podsResource, "shop", name)
	}
	if got := x.wait(done); got.err != nil || got.Evicted != 3 || got.Gone != 3 || len(x.asked) != 0 {
		t.Errorf("%+v, asked %v, told:\n%s", got, x.asked, x.log())
	}
}

// daemonSet is the one of the pods that are ofDaemon.
func daemonSet() *appsv1.DaemonSet {
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ds", UID: "ds"}}
}

// Pods of DaemonSets are not evicted. Whether they stay on a node that is out of service
// is up to their tolerations.
func TestDaemonSetsOutOfService(t *testing.T) {
	x := newWorld(t, daemonSet(), node("n1"), pod("agent", "n1", ofDaemon), pod("proxy", "n1", ofDaemon, tolerant), pod("web", "n1"))
	x.lose("n1")
	done := x.drain(t.Context(), x.drainer(), "n1")
	x.until("the drain to begin", func() bool { return x.count(event.PodSkipped) == 2 })
	x.delete(podsResource, "shop", "agent")
	x.delete(podsResource, "shop", "web")
	got := x.wait(done)
	if got.err != nil || got.Evicted != 1 || got.Skipped != 1 || len(x.asked) != 0 {
		t.Errorf("%+v, asked %v, told:\n%s", got, x.asked, x.log())
	}
	for _, e := range x.events {
		if e.Type == event.PodSkipped && strings.Contains(e.Message, "deleted until its node is back") != (e.Pod.Name == "agent") {
			t.Errorf("%s %s", e.Pod, e.Message)
		}
	}
}

// What a DaemonSet's pod has in emptyDirs is asked for only if it is this drain that
// would have the pod deleted.
func TestLocalDataOfDaemonSetsOutOfService(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edit    func(*Options)
		taints  bool // of somebody else
		refused int
	}{
		{"not declared", func(*Options) {}, false, 0},
		{"by this drain", func(o *Options) { o.ConfirmNodeIsOff = true }, false, 1},
		{"by this drain, allowed", func(o *Options) { o.ConfirmNodeIsOff, o.DeleteEmptyDirData = true, true }, false, 0},
		{"by somebody else", func(o *Options) { o.ConfirmNodeIsOff = true }, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newWorld(t, daemonSet(), node("n1"), pod("agent", "n1", ofDaemon, emptyDir), pod("proxy", "n1", ofDaemon, emptyDir, tolerant))
			x.lose("n1")
			if !tt.taints {
				change(x, &corev1.Node{}, "", "n1", func(n *corev1.Node) { n.Spec.Taints = nil })
			}
			if s := x.drainer(tt.edit).Select("n1"); len(s.Refused) != tt.refused || len(s.Skip) != 2-tt.refused {
				t.Errorf("refused %d, skipped %d: %v", len(s.Refused), len(s.Skip), s.Err())
			}
		})
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// world is a machine whose controller is called by hand.
type world struct {
	*testing.T
	*controller
	ctx   context.Context
	store cache.Indexer
	clock *clocktesting.FakeClock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-01", UID: "n1", Labels: map[string]string{"kubelet": "running"}},
		Status: corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{BootID: "boot-1"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
	started := metav1.NewTime(start.Add(-time.Hour))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "default", UID: "p1"},
		Spec:       corev1.PodSpec{NodeName: "node-01"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", Ready: true, RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}},
			{Name: "done", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0}}},
		}},
	}
	w := &world{T: t, ctx: context.Background(), clock: clocktesting.NewFakeClock(start),
		store: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})}
	w.controller = &controller{
		Config: Config{KubeletLabel: "kubelet", TendedLabel: "tended", Running: "running", Rebooting: "rebooting",
			RebootAnnotation: "reboot", RebootTimeAnnotation: "reboot-time", DownSinceAnnotation: "down-since"},
		rebootTime: 10 * time.Second,
		client:     fake.NewClientset(node, pod),
		kubelets:   fake.NewClientset(node),
		nodes:      corelisters.NewNodeLister(w.store),
		clock:      w.clock,
	}
	return w
}

// step reconciles once with what the API server has, and returns it afterwards.
func (w *world) step() (*corev1.Node, time.Duration) {
	w.Helper()
	w.node() // fills the store
	again, err := w.reconcile(w.ctx, "node-01")
	if err != nil {
		w.Fatal(err)
	}
	return w.node(), again
}

func (w *world) node() *corev1.Node {
	w.Helper()
	n, err := w.client.CoreV1().Nodes().Get(w.ctx, "node-01", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.store.Add(n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) pod() *corev1.Pod {
	w.Helper()
	p, err := w.client.CoreV1().Pods("default").Get(w.ctx, "agent", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// annotate sets an annotation of the node.
func (w *world) annotate(key, value string) {
	w.Helper()
	n := w.node()
	if n.Annotations == nil {
		n.Annotations = map[string]string{}
	}
	n.Annotations[key] = value
	if _, err := w.client.CoreV1().Nodes().Update(w.ctx, n, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestReboot(t *testing.T) {
	w := newWorld(t)
	n, again := w.step()
	want(t, "wait without a wish", again, 0)
	want(t, "label", n.Labels["kubelet"], "running")

	w.annotate("reboot", "boot-2")
	n, _ = w.step()
	want(t, "label", n.Labels["kubelet"], "rebooting")
	want(t, "down since", n.Annotations["down-since"], "2026-01-02T03:04:05.6Z")

	w.clock.Step(time.Second)
	n, again = w.step()
	want(t, "Ready", n.Status.Conditions[0].Status, corev1.ConditionFalse)
	want(t, "wait", again, 9*time.Second)
	want(t, "boot ID while down", n.Status.NodeInfo.BootID, "boot-1")

	w.clock.Step(9 * time.Second)
	n, again = w.step()
	want(t, "wait when up", again, 0)
	want(t, "boot ID", n.Status.NodeInfo.BootID, "boot-2")
	want(t, "Ready", n.Status.Conditions[0].Status, corev1.ConditionTrue)
	want(t, "label", n.Labels["kubelet"], "running")
	want(t, "down since", n.Annotations["down-since"], "")

	containers := w.pod().Status.ContainerStatuses
	want(t, "containers", len(containers), 2)
	want(t, "restarts", containers[0].RestartCount, 3)
	want(t, "ready", containers[0].Ready, false)
	want(t, "started again", containers[0].State.Running.StartedAt.Time.Equal(w.clock.Now().Truncate(time.Second)), true)
	want(t, "restarts of a container that had ended", containers[1].RestartCount, 0)
}

// TestRebootIsResumed loses the last change of a boot, as if the supervisor had
// been killed there.
func TestRebootIsResumed(t *testing.T) {
	w := newWorld(t)
	w.annotate("reboot", "boot-2")
	w.step()
	w.step()
	w.clock.Step(10 * time.Second)
	w.step()
	n := w.node()
	n.Labels["kubelet"] = "rebooting"
	if _, err := w.client.CoreV1().Nodes().Update(w.ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n, _ = w.step()
	want(t, "label", n.Labels["kubelet"], "running")
	want(t, "restarts", w.pod().Status.ContainerStatuses[0].RestartCount, 3)
}

// TestRebootSeenLate: the cache still shows the machine down when it is up. The API
// keeps times to the second, so those of a short reboot do not tell.
func TestRebootSeenLate(t *testing.T) {
	w := newWorld(t)
	w.annotate("reboot-time", "200ms")
	w.annotate("reboot", "boot-2")
	w.step()
	down, _ := w.step()
	w.clock.Step(200 * time.Millisecond)
	w.step()
	if err := w.store.Update(down); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reconcile(w.ctx, "node-01"); err != nil {
		t.Fatal(err)
	}
	want(t, "restarts", w.pod().Status.ContainerStatuses[0].RestartCount, 3)
	want(t, "label", w.node().Labels["kubelet"], "running")
}

func TestRebootTimes(t *testing.T) {
	for _, tc := range []struct {
		annotation string
		wait       time.Duration
	}{
		{"30s", 30 * time.Second},
		{"never", 0},
		{"soon", 10 * time.Second}, // no duration: the default
	} {
		t.Run(tc.annotation, func(t *testing.T) {
			w := newWorld(t)
			w.annotate("reboot-time", tc.annotation)
			w.annotate("reboot", "boot-2")
			w.step()
			n, again := w.step()
			want(t, "wait", again, tc.wait)
			want(t, "label", n.Labels["kubelet"], "rebooting")
		})
	}
}

func TestNodeThatIsGone(t *testing.T) {
	w := newWorld(t)
	if _, err := w.reconcile(w.ctx, "node-99"); err != nil {
		t.Error(err)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/workqueue"
)

func (w *world) leases() *leases {
	w.node() // fills the store
	queue := workqueue.NewTypedDelayingQueue[string]()
	w.Cleanup(queue.ShutDown)
	return &leases{Config: w.Config, duration: 40 * time.Second, client: w.client, nodes: w.nodes, queue: queue, clock: w.clock}
}

func (w *world) lease() *coordinationv1.Lease {
	w.Helper()
	l, err := w.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(w.ctx, "node-01", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func TestLease(t *testing.T) {
	w := newWorld(t)
	l := w.leases()
	want(t, "when again", l.keep(w.ctx, "node-01"), 10*time.Second)
	lease := w.lease()
	want(t, "holder", *lease.Spec.HolderIdentity, "node-01")
	want(t, "duration", *lease.Spec.LeaseDurationSeconds, 40)
	want(t, "renewed", lease.Spec.RenewTime.Time.Equal(start), true)
	want(t, "owner", lease.OwnerReferences[0].UID, "n1")

	w.clock.Step(10 * time.Second)
	want(t, "when again", l.keep(w.ctx, "node-01"), 10*time.Second)
	want(t, "renewed again", w.lease().Spec.RenewTime.Time.Equal(start.Add(10*time.Second)), true)

	// Another node of the name takes the lease over, so that it does not go with the first.
	n := w.node()
	n.UID = "n2"
	if err := w.store.Update(n); err != nil {
		t.Fatal(err)
	}
	l.keep(w.ctx, "node-01")
	want(t, "owners", len(w.lease().OwnerReferences), 1)
	want(t, "owner", w.lease().OwnerReferences[0].UID, "n2")
}

// TestLeaseOfNone: nobody renews the lease of a dead kubelet or of no node.
func TestLeaseOfNone(t *testing.T) {
	w := newWorld(t)
	l := w.leases()
	want(t, "when again, no node", l.keep(w.ctx, "node-99"), 0)
	n := w.node()
	n.Labels["kubelet"] = "stopped"
	if err := w.store.Update(n); err != nil {
		t.Fatal(err)
	}
	want(t, "when again, stopped", l.keep(w.ctx, "node-01"), 0)
	list, err := w.client.CoordinationV1().Leases("").List(w.ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "leases", len(list.Items), 0)
}

func TestLeaseNotRenewed(t *testing.T) {
	w := newWorld(t)
	l := w.leases()
	w.client.(*fake.Clientset).PrependReactor("patch", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	want(t, "when again", l.keep(w.ctx, "node-01"), time.Second)
}

// TestLeaseWhen: a node that is changed in other ways is left to its turn.
func TestLeaseWhen(t *testing.T) {
	w := newWorld(t)
	l := w.leases()
	node := func(uid types.UID, kubelet string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-01", UID: uid, Labels: map[string]string{"kubelet": kubelet}}}
	}
	for _, tc := range []struct {
		what string
		old  *corev1.Node
		now  *corev1.Node
		want int
	}{
		{"new", nil, node("n1", "running"), 1},
		{"same", node("n1", "running"), node("n1", "running"), 0},
		{"kubelet started", node("n1", "rebooting"), node("n1", "running"), 1},
		{"replaced", node("n1", "running"), node("n2", "running"), 1},
	} {
		l.changed(tc.old, tc.now)
		want(t, tc.what+": queued", l.queue.Len(), tc.want)
		for range l.queue.Len() {
			name, _ := l.queue.Get()
			l.queue.Done(name)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"refit.dev/refit/cluster"
)

func markedNode(unschedulable bool, mark *cluster.Mark) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-1", ResourceVersion: "7"},
		Spec:       corev1.NodeSpec{Unschedulable: unschedulable},
	}
	if mark != nil {
		n.Annotations = map[string]string{cluster.CordonAnnotation: mark.Annotation()}
	}
	return n
}

func mustGet(t *testing.T, client *fake.Clientset) *corev1.Node {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCordon(t *testing.T) {
	since := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	mine := cluster.Mark{Run: "r1", Since: since}
	for _, tt := range []struct {
		name    string
		before  *corev1.Node
		changed bool
		mark    cluster.Mark
	}{
		{"schedulable", markedNode(false, nil), true, mine},
		{"cordoned by somebody else", markedNode(true, nil), false, cluster.Mark{Run: "r1", Since: since, WasUnschedulable: true}},
		{"already mine", markedNode(true, &mine), false, mine},
		{"of another run", markedNode(true, &cluster.Mark{Run: "r0", Since: since}), false, cluster.Mark{Run: "r0", Since: since}},
		{"stale mark, uncordoned by kubectl since", markedNode(false, &cluster.Mark{Run: "r0", Since: since}), true, mine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := fake.NewClientset(tt.before)
			changed, err := Cordon(t.Context(), client, tt.before, mine)
			if err != nil || changed != tt.changed {
				t.Fatalf("Cordon = %v, %v; want %v", changed, err, tt.changed)
			}
			after := mustGet(t, client)
			mark, marked := cluster.MarkOf(after)
			if !after.Spec.Unschedulable || !marked || mark != tt.mark {
				t.Errorf("unschedulable %v, mark %+v; want mark %+v", after.Spec.Unschedulable, mark, tt.mark)
			}
		})
	}
}

func TestUncordon(t *testing.T) {
	for _, tt := range []struct {
		name                                string
		before                              *corev1.Node
		changed, stays, marked              bool
		byHandChanged, byHandLeavesCordoned bool
	}{
		{"mine", markedNode(true, &cluster.Mark{Run: "r1"}), true, false, false, true, false},
		{"mine, but cordoned before", markedNode(true, &cluster.Mark{Run: "r1", WasUnschedulable: true}), false, true, false, true, false},
		{"of another run", markedNode(true, &cluster.Mark{Run: "r0"}), false, true, true, true, false},
		{"by hand", markedNode(true, &cluster.Mark{}), false, true, true, true, false},
		{"of somebody else", markedNode(true, nil), false, true, false, true, false},
		{"uncordoned by kubectl since", markedNode(false, &cluster.Mark{Run: "r1"}), false, false, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := fake.NewClientset(tt.before)
			changed, err := Uncordon(t.Context(), client, "n1", "r1")
			if err != nil || changed != tt.changed {
				t.Fatalf("Uncordon = %v, %v; want %v", changed, err, tt.changed)
			}
			after := mustGet(t, client)
			if _, marked := cluster.MarkOf(after); after.Spec.Unschedulable != tt.stays || marked != tt.marked {
				t.Errorf("unschedulable %v, marked %v; want %v, %v", after.Spec.Unschedulable, marked, tt.stays, tt.marked)
			}

			client = fake.NewClientset(tt.before)
			changed, err = UncordonByHand(t.Context(), client, tt.before, false)
			if err != nil || changed != tt.byHandChanged {
				t.Fatalf("UncordonByHand = %v, %v; want %v", changed, err, tt.byHandChanged)
			}
			after = mustGet(t, client)
			if _, marked := cluster.MarkOf(after); after.Spec.Unschedulable || marked {
				t.Errorf("by hand: unschedulable %v, marked %v", after.Spec.Unschedulable, marked)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		if changed, err := Uncordon(t.Context(), fake.NewClientset(), "n1", "r1"); changed || err != nil {
			t.Errorf("Uncordon = %v, %v", changed, err)
		}
	})
}

// conflictOnce makes the first patch fail as the API server does when somebody
// else wrote first, after meanwhile did that other write.
func conflictOnce(client *fake.Clientset, meanwhile func()) {
	done := false
	client.PrependReactor("patch", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		if done {
			return false, nil, nil
		}
		done = true
		meanwhile()
		return true, nil, apierrors.NewConflict(corev1.Resource("nodes"), "n1", errors.New("the object has been modified"))
	})
}

func TestCordonConflict(t *testing.T) {
	replace := func(ctx context.Context, client *fake.Clientset, edit func(*corev1.Node)) {
		n := markedNode(false, nil)
		edit(n)
		if err := client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), n, ""); err != nil {
			t.Error(err)
		}
	}
	t.Run("somebody else cordons first", func(t *testing.T) {
		node := markedNode(false, nil)
		client := fake.NewClientset(node)
		conflictOnce(client, func() {
			replace(t.Context(), client, func(n *corev1.Node) { n.Spec.Unschedulable = true })
		})
		changed, err := Cordon(t.Context(), client, node, cluster.Mark{Run: "r1"})
		if changed || err != nil {
			t.Fatalf("Cordon = %v, %v", changed, err)
		}
		if mark, _ := cluster.MarkOf(mustGet(t, client)); !mark.WasUnschedulable {
			t.Errorf("mark %+v: the other cordon is forgotten", mark)
		}
	})
	t.Run("replaced", func(t *testing.T) {
		node := markedNode(false, nil)
		client := fake.NewClientset(node)
		conflictOnce(client, func() {
			replace(t.Context(), client, func(n *corev1.Node) { n.UID = types.UID("uid-2") })
		})
		if _, err := Cordon(t.Context(), client, node, cluster.Mark{Run: "r1"}); !errors.Is(err, ErrNodeReplaced) {
			t.Fatalf("err = %v", err)
		}
		if mustGet(t, client).Spec.Unschedulable {
			t.Error("the new node was cordoned")
		}
	})
	t.Run("deleted", func(t *testing.T) {
		if _, err := Cordon(t.Context(), fake.NewClientset(), markedNode(false, nil), cluster.Mark{Run: "r1"}); !errors.Is(err, ErrNodeDeleted) {
			t.Fatalf("err = %v", err)
		}
	})
}

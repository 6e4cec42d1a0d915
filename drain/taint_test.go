// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"refit.dev/refit/cluster"
)

// others are taints that are nobody's business here; the second has the key of refit.
var others = []corev1.Taint{
	{Key: "pool", Value: "web", Effect: corev1.TaintEffectNoSchedule},
	{Key: cluster.TaintKey, Value: "r1", Effect: corev1.TaintEffectNoExecute},
}

func soft(run string) corev1.Taint {
	return corev1.Taint{Key: cluster.TaintKey, Value: run, Effect: corev1.TaintEffectPreferNoSchedule}
}

// taintedNode has the soft taint of run, if that is not "", between the others.
func taintedNode(run string) *corev1.Node {
	n := markedNode(false, nil)
	n.Spec.Taints = slices.Clone(others)
	if run != "" {
		n.Spec.Taints = slices.Insert(n.Spec.Taints, 1, soft(run))
	}
	return n
}

// expectTaint fails if the node has not the soft taint of run, and all others.
func expectTaint(t *testing.T, client *fake.Clientset, run string) {
	t.Helper()
	n := mustGet(t, client)
	if got := cluster.TaintedBy(n); got != run {
		t.Errorf("tainted by %q, want %q", got, run)
	}
	left := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(x corev1.Taint) bool { return x.Effect == corev1.TaintEffectPreferNoSchedule })
	if !slices.Equal(left, others) {
		t.Errorf("the other taints are %+v", left)
	}
}

func TestTaint(t *testing.T) {
	cordoned := taintedNode("")
	cordoned.Spec.Unschedulable = true
	for _, tt := range []struct {
		name   string
		before *corev1.Node
		wanted bool
		after  string
	}{
		{"none yet", taintedNode(""), true, "r1"},
		{"mine", taintedNode("r1"), true, "r1"},
		{"of another run", taintedNode("r0"), true, "r0"},
		{"cordoned", cordoned, true, ""},
		{"not wanted any more", taintedNode(""), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := fake.NewClientset(tt.before)
			if err := Taint(t.Context(), client, tt.before, "r1", func() bool { return tt.wanted }); err != nil {
				t.Fatal(err)
			}
			expectTaint(t, client, tt.after)
		})
	}

	t.Run("cordoned meanwhile", func(t *testing.T) {
		before := taintedNode("")
		client := fake.NewClientset(before)
		conflictOnce(client, func() {
			if err := client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), cordoned, ""); err != nil {
				t.Error(err)
			}
		})
		if err := Taint(t.Context(), client, before, "r1", func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		expectTaint(t, client, "")
	})
	t.Run("gone", func(t *testing.T) {
		err := Taint(t.Context(), fake.NewClientset(), taintedNode(""), "r1", func() bool { return true })
		if !errors.Is(err, ErrNodeDeleted) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUntaint(t *testing.T) {
	for before, after := range map[string]string{"r1": "", "r0": "r0", "": ""} {
		client := fake.NewClientset(taintedNode(before))
		if err := Untaint(t.Context(), client, "n1", "r1"); err != nil {
			t.Fatal(err)
		}
		expectTaint(t, client, after)
	}
	if err := Untaint(t.Context(), fake.NewClientset(), "n1", "r1"); err != nil {
		t.Errorf("gone: %v", err)
	}
}

// A cordon that is taken back takes the soft taint of its run along, and one that
// is taken back by hand that of any run.
func TestUncordonRemovesTheTaint(t *testing.T) {
	for before, after := range map[string]string{"r1": "", "r0": "r0"} {
		node := taintedNode(before)
		node.Spec.Unschedulable = true
		node.Annotations = map[string]string{cluster.CordonAnnotation: cluster.Mark{Run: "r1"}.Annotation()}
		client := fake.NewClientset(node)
		if changed, err := Uncordon(t.Context(), client, "n1", "r1"); err != nil || !changed {
			t.Fatalf("%v, %v", changed, err)
		}
		expectTaint(t, client, after)
		client = fake.NewClientset(taintedNode(before))
		if changed, err := UncordonByHand(t.Context(), client, taintedNode(before), false); err != nil || changed {
			t.Fatalf("by hand: %v, %v", changed, err)
		}
		expectTaint(t, client, "")
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// machine is a node whose Ready condition is as given.
func machine(ready corev1.ConditionStatus, edits ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1"}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	for _, edit := range edits {
		edit(n)
	}
	return n
}

var lossMark = cluster.OutOfServiceMark{Run: "drain-1", Since: time.Unix(1_700_000_000, 0)}

// tainted has the taint from somebody else, taintedByRefit from refit.
func tainted(n *corev1.Node) {
	t := lossMark.Taint()
	t.TimeAdded = nil
	n.Spec.Taints = append(n.Spec.Taints, t)
}

func taintedByRefit(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, lossMark.Taint()) }

func markedOut(n *corev1.Node) {
	n.Annotations = map[string]string{cluster.OutOfServiceAnnotation: lossMark.Annotation()}
}

func TestImpasse(t *testing.T) {
	confirmed := Options{ConfirmNodeIsOff: true}
	for _, tc := range []struct {
		name    string
		options Options
		node    *corev1.Node
		leave   int
		says    string // "": no reason not to begin
	}{
		{"ready", Options{}, machine(corev1.ConditionTrue), 3, ""},
		{"says that it is not ready", Options{}, machine(corev1.ConditionFalse), 3, ""},
		{"lost", Options{}, machine(corev1.ConditionUnknown), 3, "3 pods would stay Terminating, because nobody is there to end them"},
		{"lost, with a single pod", Options{}, machine(corev1.ConditionUnknown), 1, "1 pod would stay Terminating, because nobody is there to end it"},
		{"lost and empty", Options{}, machine(corev1.ConditionUnknown), 0, ""},
		{"lost and out of service", Options{}, machine(corev1.ConditionUnknown, tainted), 3, ""},
		{"lost, and not waited for", Options{SkipWaitForDelete: time.Second}, machine(corev1.ConditionUnknown), 3, ""},
		{"lost, and deleted at once", Options{GracePeriod: ptr.To[int64](0)}, machine(corev1.ConditionUnknown), 3, ""},
		{"lost, with a grace period", Options{GracePeriod: ptr.To[int64](5)}, machine(corev1.ConditionUnknown), 3, "is lost"},
		{"lost and confirmed", confirmed, machine(corev1.ConditionUnknown), 3, ""},
		{"ready, and said to be off", confirmed, machine(corev1.ConditionTrue), 0, "is Ready: its kubelet answers"},
		{"not ready, and said to be off", confirmed, machine(corev1.ConditionFalse), 3, "is not Ready, but its kubelet answers"},
		{"lost and confirmed, with a selector of pods", Options{ConfirmNodeIsOff: true, PodSelector: labels.Everything()}, machine(corev1.ConditionUnknown), 3, "the taint takes all of them away"},
		{"of unknown health", confirmed, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, 3, "its kubelet answers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.options.Impasse(tc.node, tc.leave)
			if (err == nil) != (tc.says == "") || err != nil && (!strings.Contains(err.Error(), tc.says) || !strings.Contains(hint.Of(err), "--confirm-node-is-off")) {
				t.Errorf("got %v (hint: %s), want %q", err, hint.Of(err), tc.says)
			}
		})
	}
}

func TestSetOutOfService(t *testing.T) {
	mark := cluster.OutOfServiceMark{Run: "drain-1", Since: time.Unix(0, 0)}
	foreign := corev1.Taint{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}
	for _, tc := range []struct {
		name    string
		node    *corev1.Node
		changed bool
		answers bool
	}{
		{"lost", machine(corev1.ConditionUnknown, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{foreign} }), true, false},
		{"by somebody else already", machine(corev1.ConditionUnknown, tainted), false, false},
		{"ready", machine(corev1.ConditionTrue), false, true},
		{"not ready", machine(corev1.ConditionFalse), false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := fake.NewClientset(tc.node)
			changed, err := SetOutOfService(t.Context(), client, tc.node, mark, false)
			if changed != tc.changed || errors.Is(err, ErrAnswers) != tc.answers || err != nil && !tc.answers {
				t.Errorf("changed %v, %v", changed, err)
			}
			after := nodeNow(t, client)
			_, marked := cluster.OutOfServiceMarkOf(after)
			if marked != tc.changed || len(after.Spec.Taints) != len(tc.node.Spec.Taints)+map[bool]int{true: 1}[tc.changed] {
				t.Errorf("annotations %v, taints %v", after.Annotations, after.Spec.Taints)
			}
			if tc.changed && (after.Spec.Taints[0] != foreign || after.Spec.Taints[1].ToString() != "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute") {
				t.Errorf("taints %v", after.Spec.Taints)
			}
		})
	}
}

// Whoever has to do with a node that is Ready again takes refit's taint off, and
// nobody else's; while it is not Ready nobody does.
func TestBackInService(t *testing.T) {
	mark := cluster.Mark{Run: "run-1"}
	cordoned := func(n *corev1.Node) {
		n.Spec.Unschedulable = true
		n.Annotations[cluster.CordonAnnotation] = mark.Annotation()
	}
	acts := map[string]func(context.Context, *fake.Clientset, *corev1.Node) error{
		"back": func(ctx context.Context, c *fake.Clientset, n *corev1.Node) error {
			_, err := BackInService(ctx, c, n)
			return err
		},
		"cordon": func(ctx context.Context, c *fake.Clientset, n *corev1.Node) error {
			_, err := Cordon(ctx, c, n, mark)
			return err
		},
		"uncordon": func(ctx context.Context, c *fake.Clientset, n *corev1.Node) error {
			_, err := Uncordon(ctx, c, n.Name, mark.Run)
			return err
		},
		"uncordon by hand": func(ctx context.Context, c *fake.Clientset, n *corev1.Node) error {
			_, err := UncordonByHand(ctx, c, n, false)
			return err
		},
	}
	for name, act := range acts {
		for _, tc := range []struct {
			node  string
			given *corev1.Node
			stays bool
		}{
			{"ready", machine(corev1.ConditionTrue, taintedByRefit, markedOut, cordoned), false},
			{"lost", machine(corev1.ConditionUnknown, taintedByRefit, markedOut, cordoned), true},
			{"not ready", machine(corev1.ConditionFalse, taintedByRefit, markedOut, cordoned), true},
		} {
			t.Run(name+", "+tc.node, func(t *testing.T) {
				client := fake.NewClientset(tc.given)
				if err := act(t.Context(), client, tc.given); err != nil {
					t.Fatal(err)
				}
				after := nodeNow(t, client)
				if _, marked := cluster.OutOfServiceMarkOf(after); marked != tc.stays || (len(after.Spec.Taints) == 1) != tc.stays {
					t.Errorf("annotations %v, taints %v", after.Annotations, after.Spec.Taints)
				}
			})
		}
	}
	t.Run("of somebody else", func(t *testing.T) {
		given := machine(corev1.ConditionTrue, tainted)
		client := fake.NewClientset(given)
		if changed, err := BackInService(t.Context(), client, given); changed || err != nil || len(nodeNow(t, client).Spec.Taints) != 1 {
			t.Errorf("changed %v, %v", changed, err)
		}
	})
	// kubectl taint took refit's off and left the annotation; then somebody set another.
	for name, act := range acts {
		t.Run(name+", of somebody else, with a mark that was left", func(t *testing.T) {
			given := machine(corev1.ConditionTrue, tainted, markedOut, cordoned)
			client := fake.NewClientset(given)
			if StaleOutOfService(given) {
				t.Error("taken for refit's")
			}
			if err := act(t.Context(), client, given); err != nil || len(nodeNow(t, client).Spec.Taints) != 1 {
				t.Errorf("%v, %v", err, nodeNow(t, client).Spec.Taints)
			}
		})
	}
	t.Run("not cordoned", func(t *testing.T) {
		given := machine(corev1.ConditionTrue, taintedByRefit, markedOut)
		client := fake.NewClientset(given)
		if changed, err := UncordonByHand(t.Context(), client, given, false); changed || err != nil || len(nodeNow(t, client).Spec.Taints) != 0 {
			t.Errorf("changed %v, %v", changed, err)
		}
	})
}

func nodeNow(t *testing.T, client *fake.Clientset) *corev1.Node {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

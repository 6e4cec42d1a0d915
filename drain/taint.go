// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
)

// Taint puts the soft taint of run on node, as long as wanted says so: it is
// asked again before each attempt. A node that is cordoned, or has the taint of
// another run, is left as it is.
func Taint(ctx context.Context, client kubernetes.Interface, node *corev1.Node, run string, wanted func() bool) error {
	edit := func(n *corev1.Node) *nodePatch {
		if n.Spec.Unschedulable || cluster.TaintedBy(n) != "" || !wanted() {
			return nil
		}
		p := newNodePatch(n)
		p.setTaints(append(slices.Clone(n.Spec.Taints), corev1.Taint{Key: cluster.TaintKey, Value: run, Effect: corev1.TaintEffectPreferNoSchedule}))
		return p
	}
	if _, err := patchNode(ctx, client, node, edit, nil); err != nil {
		return fmt.Errorf("taint node %s: %w", node.Name, err)
	}
	return nil
}

// Untaint takes the soft taint of run off a node. A node without it, or that is
// not there any more, is left alone: that is no error.
func Untaint(ctx context.Context, client kubernetes.Interface, name, run string) error {
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the taint of node %s: look at it: %w", name, err)
	}
	edit := func(n *corev1.Node) *nodePatch {
		if cluster.TaintedBy(n) != run {
			return nil
		}
		p := newNodePatch(n)
		p.untaint(n, run)
		return p
	}
	_, err = patchNode(ctx, client, node, edit, nil)
	if err == nil || errors.Is(err, ErrNodeDeleted) || errors.Is(err, ErrNodeReplaced) {
		return nil
	}
	return fmt.Errorf("remove the taint of node %s: %w", name, err)
}

// untaint leaves out the soft taint of run, or of any run if that is "".
func (p *nodePatch) untaint(n *corev1.Node, run string) {
	by := cluster.TaintedBy(n)
	if by == "" || run != "" && by != run {
		return
	}
	p.dropTaints(n, func(t corev1.Taint) bool {
		return t.Key == cluster.TaintKey && t.Effect == corev1.TaintEffectPreferNoSchedule
	})
}

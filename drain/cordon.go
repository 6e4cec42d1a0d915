// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
)

// ErrNodeDeleted and ErrNodeReplaced say that a node is not there any more, or
// that another one has its name. Test with errors.Is.
var (
	ErrNodeDeleted  = errors.New("the node was deleted")
	ErrNodeReplaced = errors.New("the node was replaced by another one of the same name")
)

// cordonAttempts bounds how often a write is repeated after somebody else wrote
// to the node in between. Kubelets write every few seconds at most, so losing
// twice in a row is rare already.
const cordonAttempts = 10

// Cordon marks node unschedulable and records mark on it. changed tells whether
// it was schedulable before.
//
// The write only succeeds on that very node, as it was last seen; when somebody
// else wrote to it in between, Cordon looks again. mark.WasUnschedulable is set
// here, from what is found. The mark of another run of refit on a node that is
// cordoned is left as it is: that run has a claim on it. A node that refit had
// tainted as out of service and that is Ready again loses that taint.
func Cordon(ctx context.Context, client kubernetes.Interface, node *corev1.Node, mark cluster.Mark) (changed bool, err error) {
	return cordon(ctx, client, node, mark, nil)
}

// TryCordon asks the API server whether Cordon would succeed, without doing it.
func TryCordon(ctx context.Context, client kubernetes.Interface, node *corev1.Node, mark cluster.Mark) (changes bool, err error) {
	return cordon(ctx, client, node, mark, []string{metav1.DryRunAll})
}

func cordon(ctx context.Context, client kubernetes.Interface, node *corev1.Node, mark cluster.Mark, dryRun []string) (bool, error) {
	edit := func(n *corev1.Node) *nodePatch {
		p := newNodePatch(n)
		back := p.backInService(n)
		if _, marked := cluster.MarkOf(n); marked && n.Spec.Unschedulable {
			if !back {
				return nil
			}
			return p
		}
		m := mark
		m.WasUnschedulable = n.Spec.Unschedulable
		text := m.Annotation()
		p.setCordon(&text, true)
		return p
	}
	before, err := patchNode(ctx, client, node, edit, dryRun)
	if err != nil {
		return false, fmt.Errorf("cordon node %s: %w", node.Name, err)
	}
	return !before.Spec.Unschedulable, nil
}

// Uncordon takes back what Cordon did for run: the mark is removed, and the node
// is schedulable again unless it was cordoned before that by somebody else; the
// soft taint of the run goes as well, and refit's out-of-service taint if the node is
// Ready. changed tells whether the node became schedulable. A node that does not carry
// the mark of run, or is not there any more, is left alone: that is no error.
func Uncordon(ctx context.Context, client kubernetes.Interface, name, run string) (changed bool, err error) {
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("uncordon node %s: look at it: %w", name, err)
	}
	keep := false // somebody else's cordon
	edit := func(n *corev1.Node) *nodePatch {
		mark, marked := cluster.MarkOf(n)
		if !marked || mark.Run != run {
			keep = true
			return nil
		}
		keep = mark.WasUnschedulable && n.Spec.Unschedulable
		p := newNodePatch(n)
		p.setCordon(nil, keep)
		p.untaint(n, run)
		p.backInService(n)
		return p
	}
	before, err := patchNode(ctx, client, node, edit, nil)
	switch {
	case errors.Is(err, ErrNodeDeleted), errors.Is(err, ErrNodeReplaced):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("uncordon node %s: %w", name, err)
	}
	return before.Spec.Unschedulable && !keep, nil
}

// UncordonByHand marks the node schedulable whoever cordoned it, as kubectl
// uncordon does, and removes refit's mark and soft taint, and its out-of-service taint
// if the node is Ready. A node that is not there is an error.
func UncordonByHand(ctx context.Context, client kubernetes.Interface, node *corev1.Node, dryRun bool) (changed bool, err error) {
	var options []string
	if dryRun {
		options = []string{metav1.DryRunAll}
	}
	edit := func(n *corev1.Node) *nodePatch {
		p := newNodePatch(n)
		back := p.backInService(n)
		if _, found := n.Annotations[cluster.CordonAnnotation]; !found && !n.Spec.Unschedulable && cluster.TaintedBy(n) == "" {
			if !back {
				return nil
			}
			return p
		}
		p.setCordon(nil, false)
		p.untaint(n, "")
		return p
	}
	before, err := patchNode(ctx, client, node, edit, options)
	if err != nil {
		return false, fmt.Errorf("uncordon node %s: %w", node.Name, err)
	}
	return before.Spec.Unschedulable, nil
}

// nodePatch is a JSON merge patch; null removes a field. The resource version in
// it makes the API server refuse it on any other version of the node, and so on
// any other node.
type nodePatch struct {
	Metadata map[string]any `json:"metadata"`
	Spec     map[string]any `json:"spec"`
}

func newNodePatch(node *corev1.Node) *nodePatch {
	return &nodePatch{Metadata: map[string]any{"resourceVersion": node.ResourceVersion}, Spec: map[string]any{}}
}

// setCordon sets the annotation (nil: removes it) and spec.unschedulable.
func (p *nodePatch) setCordon(annotation *string, unschedulable bool) {
	p.annotate(cluster.CordonAnnotation, annotation)
	p.Spec["unschedulable"] = unschedulable
}

// annotate sets an annotation (nil: removes it).
func (p *nodePatch) annotate(key string, value *string) {
	all, ok := p.Metadata["annotations"].(map[string]*string)
	if !ok {
		all = map[string]*string{}
		p.Metadata["annotations"] = all
	}
	all[key] = value
}

func (p *nodePatch) setTaints(taints []corev1.Taint) { p.Spec["taints"] = taints }

// dropTaints leaves out more of n's taints.
func (p *nodePatch) dropTaints(n *corev1.Node, drop func(corev1.Taint) bool) {
	taints, ok := p.Spec["taints"].([]corev1.Taint)
	if !ok {
		taints = slices.Clone(n.Spec.Taints)
	}
	p.setTaints(slices.DeleteFunc(taints, drop))
}

// patchNode applies the patch that edit makes of the node (nil: nothing to do),
// looking again after each conflict. It returns the node as it was before.
func patchNode(ctx context.Context, client kubernetes.Interface, node *corev1.Node,
	edit func(*corev1.Node) *nodePatch, dryRun []string,
) (*corev1.Node, error) {
	nodes := client.CoreV1().Nodes()
	name, uid := node.Name, node.UID
	for attempt := 1; ; attempt++ {
		p := edit(node)
		if p == nil {
			return node, nil
		}
		data, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		_, err = nodes.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{DryRun: dryRun})
		switch {
		case err == nil:
			return node, nil
		case apierrors.IsNotFound(err):
			return nil, ErrNodeDeleted
		case !apierrors.IsConflict(err) || attempt == cordonAttempts:
			return nil, err
		}
		node, err = nodes.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil, ErrNodeDeleted
		case err != nil:
			return nil, fmt.Errorf("look at it again: %w", err)
		case node.UID != uid:
			return nil, ErrNodeReplaced
		}
	}
}

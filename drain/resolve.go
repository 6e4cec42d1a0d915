// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/internal/hint"
)

// ErrInput is what the error is when it was asked for nodes that cannot be
// meant: an unknown one, one twice, or a selector that matches none.
var ErrInput = errors.New("no such set of nodes")

// inputError is ErrInput with words of its own.
type inputError struct{ error }

func (inputError) Is(target error) bool { return target == ErrInput }

// Names checks the names of nodes that somebody typed, and takes off the
// "node/" that the output of refit and kubectl puts before them.
func Names(typed []string) ([]string, error) {
	names := make([]string, 0, len(typed))
	for _, t := range typed {
		name := t
		if kind, rest, found := strings.Cut(t, "/"); found {
			if kind != "node" && kind != "nodes" && kind != "no" {
				return nil, hint.Wrap(inputError{fmt.Errorf("%q is not a node", t)}, "give the names of nodes, as `kubectl get nodes` lists them")
			}
			name = rest
		}
		if name == "" {
			return nil, hint.Wrap(inputError{errors.New("a node's name is empty")}, "give the names of nodes, as `kubectl get nodes` lists them")
		}
		if slices.Contains(names, name) {
			return nil, hint.Wrap(inputError{fmt.Errorf("node %s is given twice", name)}, "name each node once")
		}
		names = append(names, name)
	}
	return names, nil
}

// Resolve returns the nodes of those names or, if there are no names, the nodes
// that match the selector, sorted by name. Every name that no node has is in the error.
func Resolve(ctx context.Context, client kubernetes.Interface, names []string, selector labels.Selector) ([]*corev1.Node, error) {
	if len(names) == 0 {
		return matching(ctx, client, selector)
	}
	var nodes []*corev1.Node
	var unknown []string
	for _, name := range names {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			unknown = append(unknown, name)
		case err != nil:
			return nil, fmt.Errorf("look at node %s: %w", name, err)
		default:
			nodes = append(nodes, node)
		}
	}
	if len(unknown) > 0 {
		return nil, unknownNodes(unknown)
	}
	return nodes, nil
}

func unknownNodes(names []string) error {
	noun := "node"
	if len(names) > 1 {
		noun = "nodes"
	}
	return hint.Wrap(inputError{fmt.Errorf("no %s %s in this cluster; nothing was changed", noun, strings.Join(names, ", "))},
		"`kubectl get nodes` lists them; --context chooses the cluster")
}

func matching(ctx context.Context, client kubernetes.Interface, selector labels.Selector) ([]*corev1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("list the nodes that match %q: %w", selector, err)
	}
	if len(list.Items) == 0 {
		return nil, hint.Wrap(inputError{fmt.Errorf("no node matches %q; nothing was changed", selector)},
			"`kubectl get nodes --show-labels` shows what there is to match")
	}
	nodes := make([]*corev1.Node, 0, len(list.Items))
	for i := range list.Items {
		nodes = append(nodes, &list.Items[i])
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

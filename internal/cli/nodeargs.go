// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
)

// nodeArgs are the nodes that a verb is for: names, or a selector.
type nodeArgs struct {
	selector string
	// selects tells whether --selector was given, be it empty.
	selects func() bool
}

func (n *nodeArgs) add(cmd *cobra.Command) {
	n.selects = func() bool { return cmd.Flags().Changed("selector") }
	cmd.Flags().StringVarP(&n.selector, "selector", "l", "", "label selector of the nodes, instead of names")
}

// parse checks what can be checked without a cluster.
func (n *nodeArgs) parse(args []string) (names []string, selector labels.Selector, err error) {
	switch {
	case n.selects() && len(args) > 0:
		return nil, nil, usageError(errors.New("nodes are given by name and by --selector: use one of them"))
	case !n.selects() && len(args) == 0:
		return nil, nil, usageError(errors.New("no node is given: name nodes, or select them with --selector"))
	case !n.selects():
		names, err = drain.Names(args)
		return names, nil, usageError(err)
	}
	selector, err = labels.Parse(n.selector)
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("--selector %q: %w", n.selector, err))
	}
	if selector.Empty() { // of blanks: it would match every node
		return nil, nil, usageError(fmt.Errorf("--selector %q selects nothing in particular: want labels, such as pool=web", n.selector))
	}
	return nil, selector, nil
}

// resolve finds the nodes. That there are none is wrong input.
func resolve(ctx context.Context, client kubernetes.Interface, names []string, selector labels.Selector) ([]*corev1.Node, error) {
	nodes, err := drain.Resolve(ctx, client, names, selector)
	if errors.Is(err, drain.ErrInput) {
		return nil, usageError(err)
	}
	return nodes, cluster.Explain(err, "nodes")
}

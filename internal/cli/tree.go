// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Root returns the tree of all commands, for documentation. It is not to be run.
func Root() *cobra.Command {
	a := &app{IOStreams: genericiooptions.NewTestIOStreamsDiscard(), kube: genericclioptions.NewConfigFlags(true)}
	root := newRootCommand(a, "refit")
	root.InitDefaultCompletionCmd() // cobra adds it when the tree is run
	return root
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/report"
)

func newCheckCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what would get in the way of maintenance",
		Long: "Read the cluster and tell what would make maintenance hang, lose something or be unsafe:\n" +
			"budgets that can never let go, pods that fit nowhere else, webhooks that would refuse\n" +
			"evictions, versions that do not belong together, and more. Nothing is changed.\n\n" +
			"The exit code is 3 if there is a blocker: maintenance of some node would hang or be unsafe.",
		Example: "  # What stands in the way?\n" +
			"  refit check\n\n" +
			"  # One line for each finding\n" +
			"  refit check -o wide\n\n" +
			"  # The codes of all blockers\n" +
			"  refit check -o json | jq -r '.findings[] | select(.severity == \"blocker\") | .code'",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context()) },
	}
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) check(ctx context.Context) error {
	terminal, err := report.Detect(a.Out, a.Out, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	_, client, err := a.client()
	if err != nil {
		return err
	}
	snapshot, err := cluster.Read(ctx, client)
	if err != nil {
		return err
	}
	list := findings{all: check.Run(snapshot), nodes: len(snapshot.Nodes), pods: len(snapshot.Pods)}
	if err := list.write(a.Out, a.output, terminal.Color); err != nil {
		return err
	}
	if worst, found := cluster.Worst(list.all); found && worst == cluster.Blocker {
		return exitWith(exitBlocked, nil)
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"refit.dev/refit/cluster"
	"refit.dev/refit/report"
	"refit.dev/refit/upgrade"
)

func newUpgradeStatusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the version of every node and component, and what is left",
		Long: "Show what every node runs, as the cluster itself tells, and what is older than the newest API\n" +
			"server: what is left of an upgrade. Nothing is changed, and no machine is looked at.",
		Example: "  refit upgrade status\n\n" +
			"  # What is left, for a script\n" +
			"  refit upgrade status -o json | jq '.left'",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.upgradeStatus(cmd.Context()) },
	}
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) upgradeStatus(ctx context.Context) error {
	_, client, err := a.client()
	if err != nil {
		return err
	}
	snapshot, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindPod))
	if err != nil {
		return err
	}
	progress := upgrade.ProgressOf(snapshot)
	if a.output == "json" || a.output == "yaml" {
		return report.WriteData(a.Out, a.output, progress)
	}
	return writeUpgradeStatus(a.Out, &progress, a.output == "wide")
}

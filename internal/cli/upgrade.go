// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newUpgradeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring a cluster to another version of Kubernetes",
		Long: "Bring a cluster to another version of Kubernetes: the control plane one minor at a time, and the\n" +
			"workers as the budgets allow. It is one of kubeadm, or one whose components are services of\n" +
			"systemd (--method units), which is found out.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUpgradePlanCommand(a), newUpgradeApplyCommand(a), newUpgradeStatusCommand(a))
	return cmd
}

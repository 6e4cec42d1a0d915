// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newUpgradeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring a cluster of kubeadm to another version of Kubernetes",
		Long: "Bring a cluster that was made by kubeadm to another version of Kubernetes: the control plane one\n" +
			"minor at a time, and the workers as the budgets allow.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUpgradePlanCommand(a), newUpgradeApplyCommand(a), newUpgradeStatusCommand(a))
	return cmd
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newOptionsCommand prints the flags that every command takes, as kubectl
// options does: there are too many of them to stand in each command's help.
func newOptionsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "options",
		Short: "Print the flags that all commands take",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(a.Out, "The following options can be passed to any command:\n\n%s",
				cmd.Root().PersistentFlags().FlagUsages())
			return err
		},
	}
}

// hideGlobalFlags takes the flags that all commands share out of their usage,
// and says where they are instead.
func hideGlobalFlags(root *cobra.Command) {
	const (
		global = `{{if .HasAvailableInheritedFlags}}

Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}`
		local   = "{{if .HasAvailableLocalFlags}}"
		options = "\n{{if not .HasAvailableSubCommands}}\n{{end}}Use \"{{.Root.CommandPath}} options\" for the flags that all commands take.\n"
	)
	usage := root.UsageTemplate()
	usage = strings.Replace(usage, global, "", 1)
	usage = strings.Replace(usage, local, "{{if and .HasParent .HasAvailableLocalFlags}}", 1)
	root.SetUsageTemplate(strings.TrimRight(usage, "\n") + options)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"refit.dev/refit/report"
)

// version is the module's version as the build recorded it, or "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func newVersionCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of refit",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if a.output != "text" {
				return report.WriteData(a.Out, a.output, map[string]string{"version": version()})
			}
			_, err := fmt.Fprintln(a.Out, "refit", version())
			return err
		},
	}
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

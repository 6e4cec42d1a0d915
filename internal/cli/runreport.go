// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
	"refit.dev/refit/report/html"
	"refit.dev/refit/run"
)

func newRunsReportCommand(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Write the report of a run, one HTML file",
		Long: "Write a page that shows how a run went: each node with its phases, the budgets over time, what\n" +
			"waited for what, and how often pods had to move. It is one file that loads nothing else, so that\n" +
			"it can be mailed and kept. The run may be at work, or have ended in whatever way. Without a name\n" +
			"it is the newest run. The path of the file is printed.\n\n" +
			"The file is readable for you alone, because the command of a run may hold secrets, and is in it.",
		Example: "  refit runs report\n" +
			"  refit runs report 20261122-150405-abcd --out maintenance.html\n" +
			"  refit runs report --out - > report.html",
		Args: usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: completeRuns(false),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.writeReport(args, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to write, - for the standard output (default refit-RUN.html in this directory)")
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func (a *app) writeReport(args []string, out string) error {
	if out == "-" && a.output != "text" {
		return usageError(fmt.Errorf("--out - writes the page itself to the standard output: -o %s has no place there", a.output))
	}
	clk := clock.RealClock{}
	store, err := run.DefaultStore(clk)
	if err != nil {
		return err
	}
	id, err := named(args, store.Newest)
	if err != nil {
		return runError(err)
	}
	r, err := html.Load(store, id, clk.Now())
	if err != nil {
		return runError(err)
	}
	if out == "-" {
		return html.Write(a.Out, r)
	}
	if out == "" {
		out = "refit-" + id + ".html"
	}
	path, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := html.WriteFile(path, r); err != nil {
		return hint.Wrap(err, "name another file with --out")
	}
	if a.output == "text" {
		_, err := fmt.Fprintln(a.Out, report.Printable(path))
		return err
	}
	return report.WriteData(a.Out, a.output, map[string]string{"run": id, "path": path})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"refit.dev/refit/demo"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

func newDemoCommand(a *app) *cobra.Command {
	var (
		nodes          int
		maxUnavailable string
		keep           bool
		file           string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show maintenance of a whole cluster, and a restore, on one of its own",
		Long: "Bring up an embedded cluster with a web shop on it, check it, take every node through\n" +
			"maintenance - cordon, drain, simulated reboot, wait, uncordon - several at a time, and let\n" +
			"a witness that does not trust refit say whether a disruption budget was ever broken. The report\n" +
			"of the run, a page for your browser, is written, and its path printed. Then etcd is saved, the\n" +
			"shop's namespace deleted, and brought back by a restore.\n\n" +
			"No cluster but the demo's own is touched. It is taken down at the end, also after Ctrl-C.\n" +
			"The exit code is 1 if the witness saw a broken budget or a node that was not maintained, or if\n" +
			"something that was deleted is not back.",
		Example: "  # Watch 12 nodes being maintained, 3 at a time\n" +
			"  refit demo\n\n" +
			"  # One at a time, and keep the cluster to look at it\n" +
			"  refit demo --max-unavailable=1 --keep",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			share, err := run.ParseShare(maxUnavailable)
			if err != nil {
				return usageError(fmt.Errorf("--max-unavailable %w", err))
			}
			if nodes < demo.MinNodes {
				return usageError(fmt.Errorf("--nodes %d: the demo needs %d at least", nodes, demo.MinNodes))
			}
			if file == "" {
				file, err = statedir.Path("demo.html")
			} else {
				file, err = filepath.Abs(file)
			}
			if err != nil {
				return err
			}
			return a.demo(cmd.Context(), demo.Options{Nodes: nodes, MaxUnavailable: share, Keep: keep, Report: file})
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 12, fmt.Sprintf("how many nodes the cluster has, %d at least", demo.MinNodes))
	cmd.Flags().StringVar(&maxUnavailable, "max-unavailable", "25%", "how many nodes may be out at once, a number or a percentage")
	cmd.Flags().StringVar(&file, "report", "", "the file for the report of the run (default demo.html in the state directory)")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the cluster running")
	return cmd
}

func (a *app) demo(ctx context.Context, o demo.Options) error {
	options, err := report.Detect(a.Out, a.ErrOut, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	if o.Etcd, err = worker(); err != nil {
		return err
	}
	o.Clock, o.UserAgent = clock.RealClock{}, "refit/"+version()
	options.Clock = o.Clock
	reporter := report.New(options)
	o.Sink = reporter
	o.Say = func(line string) { fmt.Fprintln(a.ErrOut, report.Printable(line)) }
	out, err := demo.Run(ctx, o)
	err = errors.Join(err, reporter.Close())
	switch {
	case errors.Is(err, demo.ErrRunning):
		return exitWith(exitLocked, err)
	case err != nil && ctx.Err() != nil:
		return exitWith(exitUnfinished, err)
	case err != nil:
		return err
	}
	for _, line := range out.Summary() {
		if _, err := fmt.Fprintln(a.Out, report.Printable(line)); err != nil {
			return err
		}
	}
	switch {
	case out.Run.Result == event.ResultUnfinished:
		return exitWith(exitUnfinished, nil)
	case len(out.Faults()) > 0:
		return exitWith(exitFailed, nil)
	}
	return nil
}

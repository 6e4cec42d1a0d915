// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/report"
)

func newDrainCommand(a *app) *cobra.Command {
	var (
		nodes      nodeArgs
		flags      drainFlags
		dryRun     string
		keepCordon bool
		confirmOff bool
		waitBack   bool
	)
	cmd := &cobra.Command{
		Use:   "drain NODE... | -l SELECTOR",
		Short: "Empty nodes of their pods, within the disruption budgets",
		Long: "Cordon the nodes and evict their pods, all nodes at the same time and as fast as the\n" +
			"disruption budgets allow. DaemonSet pods and mirror pods stay. It ends once the evicted\n" +
			"pods are gone and their volumes detached; nodes stay cordoned until refit uncordon.\n\n" +
			"If a pod may not be evicted without one more flag, nothing is touched (exit code 3). What\n" +
			"cannot be drained before --timeout or Ctrl-C is listed with the reason, and its node is\n" +
			"uncordoned again if this command had cordoned it (exit code 4).\n\n" +
			"A node whose kubelet does not answer is not drained: evictions would be accepted and the pods\n" +
			"would stay (exit code 3). With --confirm-node-is-off, which says that somebody has made sure\n" +
			"that the machine is off, it is tainted node.kubernetes.io/out-of-service: its pods are removed,\n" +
			"past their budgets, and its volumes detached. The taint goes when refit drains, maintains or\n" +
			"uncordons the node once it is Ready again; with --wait-for-return this command waits for that.\n\n" +
			"The flags are kubectl drain's, except that DaemonSet pods are left alone by default.",
		Example: "  # Drain two nodes at the same time\n" +
			"  refit drain node-01 node-02\n\n" +
			"  # Ask the API server what would happen\n" +
			"  refit drain node-01 --dry-run=server\n\n" +
			"  # All nodes of a rack, whatever runs there, ten minutes at most\n" +
			"  refit drain -l rack=r7 --force --delete-emptydir-data --timeout=10m --yes\n\n" +
			"  # Its machine is dead, and will not wake up by itself\n" +
			"  refit drain node-01 --confirm-node-is-off\n\n" +
			"  # The same, and take the taint off as soon as the machine is back\n" +
			"  refit drain node-01 --confirm-node-is-off --wait-for-return\n\n" +
			"  # For a script: one event per line, the last one says how it ended\n" +
			"  refit drain node-01 -o json | tail -n 1 | jq .result",
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, selector, err := nodes.parse(args)
			if err != nil {
				return err
			}
			options, err := flags.options()
			if err != nil {
				return err
			}
			if options.DryRun, err = parseDryRun(dryRun); err != nil {
				return err
			}
			if options.ConfirmNodeIsOff = confirmOff; confirmOff && options.PodSelector != nil {
				return usageError(errors.New("--confirm-node-is-off and --pod-selector exclude each other: the taint with which a node is declared out of service takes all of its pods away"))
			}
			if options.WaitForReturn = waitBack; waitBack && !confirmOff {
				return usageError(errors.New("--wait-for-return goes with --confirm-node-is-off: other nodes are not away"))
			}
			return a.drain(cmd.Context(), names, selector, options, keepCordon)
		},
	}
	nodes.add(cmd)
	flags.add(cmd.Flags())
	dryRunFlag(cmd, &dryRun)
	cmd.Flags().BoolVar(&confirmOff, "confirm-node-is-off", false,
		"the machines of these nodes, which do not answer, are off for certain: taint them as out of service")
	cmd.Flags().BoolVar(&waitBack, "wait-for-return", false,
		"with --confirm-node-is-off: once drained, wait for the node to be Ready again (--timeout does not count that), and take the taint off")
	cmd.Flags().BoolVar(&keepCordon, "keep-cordon", false, "leave nodes cordoned that could not be drained")
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) drain(ctx context.Context, names []string, selector labels.Selector, options drain.Options, keepCordon bool) error {
	_, client, err := a.client()
	if err != nil {
		return err
	}
	watcher, err := cluster.Watch(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindPod, cluster.KindBudget,
		cluster.KindWorkload, cluster.KindVolume, cluster.KindClaim, cluster.KindAttachment))
	if err != nil {
		return interrupted(ctx, err)
	}
	defer watcher.Stop()
	nodes, err := resolve(ctx, client, names, selector)
	if err != nil {
		return interrupted(ctx, err)
	}
	if selector != nil && options.DryRun == drain.DryRunNone {
		fmt.Fprintf(a.ErrOut, "drain %s\n", report.Printable(list(nodes)))
		if err := a.confirm(ctx); err != nil {
			return err
		}
	}
	reporter, err := a.reporter(options.DryRun)
	if err != nil {
		return err
	}
	mark := cluster.DrainPrefix + clock.RealClock{}.Now().UTC().Format("20060102-150405") + "-" + rand.String(4)
	summary, err := drain.New(client, watcher, options, reporter).Nodes(ctx, nodes, mark, keepCordon)
	if err := reporter.Close(); err != nil {
		return err
	}
	if a.output == "text" || a.output == "wide" {
		err = nil // the report has said it
	}
	if code := resultCode(summary.Result); code != exitDone {
		return exitWith(code, err)
	}
	return err
}

// reporter starts the report of a verb that tells events.
func (a *app) reporter(dryRun drain.DryRun) (report.Reporter, error) {
	options, err := report.Detect(a.Out, a.ErrOut, a.color, os.Getenv)
	if err != nil {
		return nil, usageError(err)
	}
	options.Format = a.output
	switch dryRun {
	case drain.DryRunNone:
	case drain.DryRunClient:
		options.DryRun = "dry run"
	case drain.DryRunServer:
		options.DryRun = "server dry run"
	}
	return report.New(options), nil
}

// resultCode is the exit code that goes with a result.
func resultCode(r event.Result) int {
	switch r {
	case event.ResultDone:
		return exitDone
	case event.ResultBlocked:
		return exitBlocked
	case event.ResultUnfinished:
		return exitUnfinished
	case event.ResultFailed:
	}
	return exitFailed
}

// interrupted gives err the exit code of an interruption if that is what it comes from.
func interrupted(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return exitWith(exitUnfinished, errors.New("interrupted; nothing was changed"))
	}
	return err
}

// list names nodes in a sentence.
func list(nodes []*corev1.Node) string {
	names := make([]string, 0, len(nodes))
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	if len(names) == 1 {
		return "node " + names[0]
	}
	return fmt.Sprintf("%d nodes: %s", len(names), strings.Join(names, ", "))
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// maintainFlags are those of refit maintain, as given.
type maintainFlags struct {
	request        run.Request
	maxUnavailable string
	gracePeriod    int64
	skipWait       int32
	dryRun         bool
	out, plan      string
	overSSH        bool
	ssh            sshFlags
}

func newMaintainCommand(a *app) *cobra.Command {
	var f maintainFlags
	cmd := &cobra.Command{
		Use:   "maintain (NODE... | -l SELECTOR | --all) (--command CMD | --reboot) | --plan FILE",
		Short: "Take nodes through maintenance, many at once, within the budgets",
		Long: "Cordon each node, drain it, run a command for it or reboot it, wait until it is Ready, uncordon\n" +
			"it and wait until the workloads that had to move are back. Several nodes are worked on at once,\n" +
			"never more than --max-unavailable: nodes that are cordoned already or not Ready count.\n\n" +
			"Which node goes when is planned first, so that budgets hold and each pod moves once if it can.\n" +
			"--dry-run shows the plan with its estimates and changes nothing; --out saves it as well. --plan\n" +
			"carries out exactly such a plan, and refuses if the cluster has changed in a way that matters.\n\n" +
			"Everything is recorded before it is done. Ctrl-C stops in order; after that, or after a crash,\n" +
			"refit runs resume carries on, and refit runs abort uncordons what the run had cordoned. A node\n" +
			"that fails stays cordoned, and no new ones are started after --max-failures.\n\n" +
			"The command runs in the shell of this machine, with REFIT_NODE, REFIT_NODE_UID,\n" +
			"REFIT_NODE_ADDRESS and REFIT_RUN in its environment; with --ssh it runs on the machine of each\n" +
			"node, as root. With --ssh --reboot the machines are rebooted. Their host keys have to be known.",
		Example: "  # Reboot every node of the embedded cluster, a tenth of them at a time\n" +
			"  refit maintain --all --reboot\n\n" +
			"  # Upgrade the packages of two nodes, one after the other\n" +
			"  refit maintain node-01 node-02 --max-unavailable 1 --ssh --command 'apt-get -y upgrade'\n\n" +
			"  # See what would be done to the nodes of a pool, and what moves where\n" +
			"  refit maintain -l pool=web --reboot --dry-run -o wide\n\n" +
			"  # Save a plan, have it approved, apply it\n" +
			"  refit maintain --all --reboot --out plan.yaml\n" +
			"  refit maintain --plan plan.yaml",
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if cmd.Flags().Changed("plan") {
				if err := onlyPlan(args, cmd); err != nil {
					return usageError(err)
				}
				return a.maintain(cmd.Context(), f)
			}
			if f.request.Names, err = drain.Names(args); err != nil {
				return usageError(err)
			}
			if err = f.complete(cmd.Flags()); err != nil {
				return usageError(err)
			}
			return a.maintain(cmd.Context(), f)
		},
	}
	f.add(cmd.Flags())
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (f *maintainFlags) add(flags *pflag.FlagSet) {
	r, d, t := &f.request, &f.request.Drain, &f.request.Timeouts
	*t = run.DefaultTimeouts()
	flags.StringVarP(&r.Selector, "selector", "l", "", "take the nodes with these labels")
	flags.BoolVar(&r.All, "all", false, "take all nodes")
	flags.StringVar(&r.Command, "command", "", "run this shell command for each node")
	flags.BoolVar(&r.Reboot, "reboot", false, "reboot each node")
	flags.BoolVar(&f.overSSH, "ssh", false, "log in to the machines of the nodes over SSH: run the command there, or reboot them")
	f.ssh.add(flags)
	flags.StringVar(&f.maxUnavailable, "max-unavailable", "10%", "how many nodes of the cluster may be out at once: a number, or a percentage of all nodes (one at least)")
	flags.IntVar(&r.MaxUnavailablePerZone, "max-unavailable-per-zone", 0, "how many nodes of one zone (topology.kubernetes.io/zone) may be out at once; 0 is no limit")
	flags.DurationVar(&r.Soak, "soak", 0, "how long to wait after a node is back and its workloads have recovered, before its slot is free")
	flags.Float64Var(&r.MaxMoves, "max-moves", run.DefaultMaxMoves, "how many moves per pod the order of the nodes may cost, 1 or more")
	flags.DurationVar(&r.WorkEstimate, "work-estimate", 0, "how long the work on one node is expected to take, for estimates only (default 2m for --reboot, 1m for --command)")
	flags.IntVar(&r.MaxFailures, "max-failures", 0, "how many nodes may fail before no new ones are started")
	lookFlag(flags, &f.dryRun)
	flags.StringVar(&f.out, "out", "", "save the plan to this file (- is the standard output), show it, and change nothing")
	flags.StringVar(&f.plan, "plan", "", "carry out the plan that was saved in this file (- is the standard input)")

	flags.BoolVar(&d.Force, "force", false, "also evict pods that no controller would replace")
	flags.BoolVar(&d.IgnoreDaemonSets, "ignore-daemonsets", true, "leave DaemonSet pods alone")
	flags.BoolVar(&d.DeleteEmptyDirData, "delete-emptydir-data", false, "also evict pods with emptyDir volumes, whose data is lost")
	flags.BoolVar(&d.DisableEviction, "disable-eviction", false, "delete pods instead of evicting them, which passes by their disruption budgets")
	flags.BoolVar(&r.SurgeSingletons, "surge-singletons", false, "restart Deployments whose pods can never be evicted, so that their replacements run before the node is drained")
	flags.StringVar(&d.PodSelector, "pod-selector", "", "evict only pods with these labels")
	flags.Int64Var(&f.gracePeriod, "grace-period", -1, "seconds that each pod gets to terminate; negative: what the pod says")
	flags.Int32Var(&f.skipWait, "skip-wait-for-delete-timeout", 0, "do not wait for pods that were deleted longer ago than so many seconds; 0 waits for all")

	flags.DurationVar(&t.Drain.Duration, "drain-timeout", t.Drain.Duration, "how long the drain of one node may take")
	flags.DurationVar(&t.Command.Duration, "command-timeout", 0, "how long the command may take for one node; 0 is no limit")
	flags.DurationVar(&t.Ready.Duration, "ready-timeout", t.Ready.Duration, "how long a node may take to be Ready afterwards")
	flags.DurationVar(&t.Recover.Duration, "recover-timeout", t.Recover.Duration, "how long the workloads of a node may take to be back")
	flags.DurationVar(&t.Stall.Duration, "stall-timeout", t.Stall.Duration, "how long to go on while the API server cannot be reached, or other nodes leave no room")
}

// complete puts into the request what flags of other types say.
func (f *maintainFlags) complete(flags *pflag.FlagSet) (err error) {
	if f.request.MaxUnavailable, err = run.ParseShare(f.maxUnavailable); err != nil {
		return fmt.Errorf("--max-unavailable %w", err)
	}
	if f.request.MaxFailures < 0 {
		return fmt.Errorf("--max-failures %d: want 0 or more", f.request.MaxFailures)
	}
	if err := f.checkPlanning(flags); err != nil {
		return err
	}
	if name := f.ssh.given(flags); name != "" && !f.overSSH {
		return hint.Wrap(fmt.Errorf("--%s says how to log in to machines, and --ssh is not given", name), "add --ssh, or leave it out")
	}
	if f.overSSH {
		if f.request.Access, err = f.ssh.access(); err != nil {
			return err
		}
	}
	if f.gracePeriod >= 0 {
		f.request.Drain.GracePeriodSeconds = &f.gracePeriod
	}
	if f.skipWait < 0 {
		return fmt.Errorf("--skip-wait-for-delete-timeout %d: want 0 or more", f.skipWait)
	}
	f.request.Drain.SkipWaitForDelete = metav1.Duration{Duration: time.Duration(f.skipWait) * time.Second}
	for _, name := range []string{"drain-timeout", "ready-timeout", "recover-timeout", "stall-timeout"} {
		if d, err := flags.GetDuration(name); err == nil && d <= 0 {
			return fmt.Errorf("--%s %s: want more than 0", name, d)
		}
	}
	if d := f.request.Timeouts.Command.Duration; d < 0 {
		return fmt.Errorf("--command-timeout %s: want 0 (no limit) or more", d)
	}
	if flags.Changed("out") {
		if err := checkOut(f.out, run.ReadPlan); err != nil {
			return err
		}
	}
	if f.dryRun && f.out == "" && f.request.Command == "" && !f.request.Reboot {
		return nil // that nothing is to be done to the nodes is no hindrance to looking
	}
	return f.request.Validate()
}

// checkPlanning looks at the flags that shape the plan.
func (f *maintainFlags) checkPlanning(flags *pflag.FlagSet) error {
	r := &f.request
	switch {
	case r.MaxUnavailablePerZone < 0:
		return fmt.Errorf("--max-unavailable-per-zone %d: want 0 (no limit) or more", r.MaxUnavailablePerZone)
	case r.Soak < 0:
		return fmt.Errorf("--soak %s: want 0 (none) or more", r.Soak)
	case !(r.MaxMoves >= 1 && r.MaxMoves <= math.MaxFloat64): // which is not so for NaN and infinity
		return fmt.Errorf("--max-moves %v: want a number of 1 or more; each pod that leaves a node moves once at least", r.MaxMoves)
	case flags.Changed("work-estimate") && r.WorkEstimate <= 0:
		return fmt.Errorf("--work-estimate %s: want more than 0", r.WorkEstimate)
	}
	return nil
}

func (a *app) maintain(ctx context.Context, f maintainFlags) error {
	var saved *run.SavedPlan
	if f.plan != "" {
		var err error
		if saved, err = a.readPlan(ctx, f.plan); err != nil {
			return err
		}
	}
	operator, reporter, err := a.operator()
	if err != nil {
		return err
	}
	outcome, err := a.maintainWith(ctx, operator, saved, f)
	return outcomeError(ctx, outcome, errors.Join(err, reporter.Close()))
}

func (a *app) maintainWith(ctx context.Context, operator *run.Operator, saved *run.SavedPlan, f maintainFlags) (run.Outcome, error) {
	look := f.dryRun || f.out != ""
	prepared, err := func() (*run.Prepared, error) {
		switch {
		case saved != nil:
			return operator.PrepareSaved(ctx, saved)
		case look:
			return operator.Plan(ctx, f.request)
		}
		return operator.Prepare(ctx, f.request)
	}()
	if err != nil {
		return run.Outcome{}, err
	}
	defer prepared.Close()
	if look {
		return a.showOnly(prepared, f.out)
	}
	canvas, err := report.CanvasOf(a.ErrOut, a.color, os.Getenv)
	if err != nil {
		return run.Outcome{}, usageError(err)
	}
	if _, err := io.WriteString(a.ErrOut, viewAsked(canvas).text(prepared)); err != nil {
		return run.Outcome{}, err
	}
	if err := a.confirm(ctx); err != nil {
		return run.Outcome{}, err
	}
	return prepared.Run(ctx)
}

// operator makes a run.Operator from the flags of the command line, that tells
// a reporter, which has to be closed.
func (a *app) operator() (*run.Operator, report.Reporter, error) {
	config, client, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	clk := clock.RealClock{}
	store, err := run.DefaultStore(clk)
	if err != nil {
		return nil, nil, err
	}
	reporter, err := a.reporter(drain.DryRunNone)
	if err != nil {
		return nil, nil, err
	}
	w, err := worker()
	if err != nil {
		return nil, nil, err
	}
	fresh, err := run.FreshVersion(config)
	if err != nil {
		return nil, nil, usageError(err)
	}
	return &run.Operator{Client: client, Server: cluster.ServerName(config.Host), Version: fresh, Store: store, Sink: reporter, Clock: clk, Etcd: w}, reporter, nil
}

// outcomeError turns how a run went into an exit code. What there is to say about
// an Outcome was in its summary event; with an error there is none, and nothing
// was done.
func outcomeError(ctx context.Context, o run.Outcome, err error) error {
	if err != nil {
		return runError(interrupted(ctx, err))
	}
	if code := resultCode(o.Result); code != exitDone {
		return exitWith(code, nil)
	}
	return nil
}

// runError gives the errors of package run their exit codes.
func runError(err error) error {
	var (
		input   *run.InputError
		unknown *run.UnknownRunError
		blocked *run.BlockedError
		locked  *run.LockedError
		held    *run.HeldError
	)
	switch {
	case errors.As(err, &input), errors.As(err, &unknown):
		return usageError(err)
	case errors.As(err, &blocked):
		return exitWith(exitBlocked, err)
	case errors.As(err, &locked), errors.As(err, &held):
		return exitWith(exitLocked, err)
	case run.Unreachable(err): // nothing was changed, and resuming goes on
		return exitWith(exitUnfinished, err)
	}
	return err
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/run"
)

func newRunsCommand(a *app) *cobra.Command {
	list := newRunsListCommand(a)
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "Show, report, resume and abort runs of maintenance, upgrades and restores",
		Long: "Every run of refit maintain, of refit upgrade apply and of refit restore has a journal in the state\n" +
			"directory of this machine: what was about to be done, and what was done. These commands read it,\n" +
			"carry a run on, or give it up.",
		Example: "  # What did refit do?\n" +
			"  refit runs list\n\n" +
			"  # A page about the newest run, to look at and to pass on\n" +
			"  refit runs report\n\n" +
			"  # Carry on after a crash, a Ctrl-C or a failure that was mended\n" +
			"  refit runs resume\n\n" +
			"  # Give a run up, and uncordon what it had cordoned\n" +
			"  refit runs abort 20261122-150405-abcd",
		Args: usageArgs(cobra.NoArgs),
		RunE: list.RunE,
	}
	a.outputFlag(cmd, "text", "json", "yaml")
	cmd.AddCommand(list, newRunsShowCommand(a), newRunsReportCommand(a), newRunsResumeCommand(a), newRunsAbortCommand(a))
	return cmd
}

func newRunsListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the runs, the oldest first",
		Example: "  refit runs list\n  refit runs list -o json | jq -r '.runs[] | select(.phase == \"stopped\") | .spec.run'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			store, err := run.DefaultStore(clock.RealClock{})
			if err != nil {
				return err
			}
			entries, err := store.List()
			if err != nil {
				return err
			}
			return writeRuns(a.Out, a.output, entries)
		},
	}
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func newRunsShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show [RUN]",
		Short:   "Show where the nodes of a run stand",
		Long:    "Show a run as its journal has it: what it was to do, and where each node stands.\nWithout a name it is the newest run.",
		Example: "  refit runs show\n  refit runs show 20261122-150405-abcd -o yaml",
		Args:    usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: completeRuns(false),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := run.DefaultStore(clock.RealClock{})
			if err != nil {
				return err
			}
			id, err := named(args, store.Newest)
			if err != nil {
				return runError(err)
			}
			status, err := store.Read(id)
			if err != nil {
				return runError(err)
			}
			if err := writeRun(a.Out, a.output, status); err != nil {
				return err
			}
			if a.output == "text" && !status.Closed() && status.Phase != run.PhaseRunning {
				a.say(fmt.Sprintf("hint: carry on: refit runs resume %s; give up%s: refit runs abort %s", id, undone(status.Spec), id))
			}
			return nil
		},
	}
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func newRunsResumeCommand(a *app) *cobra.Command {
	unknown := string(run.UnknownStop)
	cmd := &cobra.Command{
		Use:   "resume [RUN]",
		Short: "Carry on a run that was killed, stopped, or had failures",
		Long: "Look at the cluster again and carry on where the run was left; what is done is not done again.\n" +
			"Nodes that failed are tried again. Without a name it is the only run that is not finished.\n\n" +
			"An API server that is away - in the middle of its own upgrade, say - is waited for, as long as\n" +
			"the --stall-timeout of the run.\n\n" +
			"A command that was under way when refit was killed may have run to its end, or not: with\n" +
			"--on-unknown-command=stop its node fails, so that a person looks; rerun runs the command\n" +
			"again, for commands that may be repeated; done takes it for done.",
		Example: "  refit runs resume\n  refit runs resume 20261122-150405-abcd --on-unknown-command=rerun",
		Args:    usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: completeRuns(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy := run.UnknownCommand(unknown)
			switch policy {
			case run.UnknownStop, run.UnknownRerun, run.UnknownDone:
			default:
				return usageError(fmt.Errorf("--on-unknown-command %q: want stop, rerun or done", unknown))
			}
			return a.resume(cmd.Context(), args, policy)
		},
	}
	cmd.Flags().StringVar(&unknown, "on-unknown-command", unknown, "what to do about a command of which nobody knows how far it got: stop, rerun or done")
	offer(cmd, "on-unknown-command", string(run.UnknownStop), string(run.UnknownRerun), string(run.UnknownDone))
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) resume(ctx context.Context, args []string, unknown run.UnknownCommand) error {
	operator, reporter, err := a.operator()
	if err != nil {
		return err
	}
	outcome, err := func() (run.Outcome, error) {
		id, err := named(args, operator.Store.OnlyUnfinished)
		if err != nil {
			return run.Outcome{}, err
		}
		status, err := operator.Store.Read(id)
		if err != nil {
			return run.Outcome{}, err
		}
		var outcome run.Outcome
		if status.Spec.Restore != nil {
			err = a.carryRestore(operator, status.Spec, func(o *restore.Operator) (err error) {
				outcome, err = o.Resume(ctx, id)
				return err
			})
		} else {
			outcome, err = operator.Resume(ctx, id, unknown)
		}
		if err == nil && outcome.NothingLeft {
			operator.Sink.Emit(event.Event{
				Time: operator.Clock.Now(), Type: event.Summary, Run: id, Result: outcome.Result, Message: outcome.Reason,
			})
		}
		return outcome, err
	}()
	return outcomeError(ctx, outcome, errors.Join(err, reporter.Close()))
}

func newRunsAbortCommand(a *app) *cobra.Command {
	keep := false
	cmd := &cobra.Command{
		Use:   "abort [RUN]",
		Short: "Give a run up and uncordon what it had cordoned",
		Long: "Uncordon the nodes that the run cordoned - those that somebody else had cordoned before stay\n" +
			"so -, remove its soft taints, release the lock and close the journal. What was done to the\n" +
			"machines is not undone. Without a name it is the only run that is not finished.\n\n" +
			"A run that replaces nodes may have made machines that carry nothing yet, or not have removed\n" +
			"old ones whose nodes are gone. They are listed, and removed if that is confirmed; what\n" +
			"carries pods is left, with what to do about it.",
		Example: "  refit runs abort 20261122-150405-abcd",
		Args:    usageArgs(cobra.MaximumNArgs(1)), ValidArgsFunction: completeRuns(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.abort(cmd.Context(), args, keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-machines", false, "remove no machine that the run has made, or was to remove")
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func (a *app) abort(ctx context.Context, args []string, keep bool) error {
	operator, reporter, err := a.operator()
	if err != nil {
		return err
	}
	if a.output == "text" { // what a reporter makes of it is about maintenance
		operator.Sink = event.SinkFunc(func(e event.Event) {
			if e.Type == event.Warning {
				a.say(report.Printable(e.Message))
			}
		})
	}
	err = a.abortWith(ctx, operator, args, keep)
	err = errors.Join(err, reporter.Close())
	if err != nil && ctx.Err() != nil { // some nodes may be uncordoned
		return exitWith(exitUnfinished, hint.Wrap(err, "abort the run again for the rest"))
	}
	return runError(err)
}

func (a *app) abortWith(ctx context.Context, operator *run.Operator, args []string, keep bool) error {
	id, err := named(args, operator.Store.OnlyUnfinished)
	if err != nil {
		return err
	}
	status, err := operator.Store.Read(id)
	if err != nil {
		return err
	}
	if status.Spec.Restore != nil {
		err := a.carryRestore(operator, status.Spec, func(o *restore.Operator) error { return o.Abort(ctx, id) })
		if err == nil {
			a.restoreAborted(operator, id)
		}
		return err
	}
	settle, err := a.askAboutDebts(ctx, operator, id, keep)
	if err != nil {
		return err
	}
	abort := func(ctx context.Context, id string) (uncordoned, removed []string, err error) {
		uncordoned, err = operator.Abort(ctx, id)
		return uncordoned, nil, err
	}
	if len(settle) > 0 {
		abort = func(ctx context.Context, id string) (uncordoned, removed []string, err error) {
			return operator.AbortRemoving(ctx, id, settle)
		}
	}
	uncordoned, removed, err := abort(ctx, id)
	if a.output == "text" {
		for _, name := range uncordoned {
			fmt.Fprintf(a.Out, "node/%s uncordoned\n", report.Printable(name))
		}
		for _, name := range removed {
			fmt.Fprintf(a.Out, "%s removed\n", report.Printable(name))
		}
	}
	if err != nil {
		return err
	}
	message := fmt.Sprintf("run %s is aborted; %s uncordoned", id, phrase.Count(len(uncordoned), "node"))
	if len(removed) > 0 {
		message += ", " + phrase.Count(len(removed), "machine") + " removed"
	}
	if a.output == "text" {
		fmt.Fprintln(a.ErrOut, message)
	}
	operator.Sink.Emit(event.Event{
		Time: operator.Clock.Now(), Type: event.Summary, Run: id, Result: event.ResultDone, Message: message,
	})
	return nil
}

// completeRuns offers the runs of this machine, the newest first: all of them, or
// those that are not finished.
func completeRuns(open bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		store, err := run.DefaultStore(clock.RealClock{})
		if err != nil || len(args) > 0 {
			return nil, directive
		}
		entries, err := store.List()
		if err != nil {
			return nil, directive
		}
		var names []string
		for _, e := range slices.Backward(entries) {
			if open && e.Err == nil && e.Status.Closed() {
				continue
			}
			names = append(names, e.Run)
		}
		return names, directive
	}
}

// named returns the argument, or what there is without one.
func named(args []string, otherwise func() (string, error)) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	return otherwise()
}

// undone is what becomes of a run that is given up, in words.
func undone(s *run.Spec) string {
	if s.Restore != nil {
		return ", unless etcd was started on the restored data"
	}
	return " and uncordon"
}

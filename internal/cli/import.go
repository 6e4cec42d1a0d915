// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"refit.dev/refit/apply"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/served"
	"refit.dev/refit/vault/seal"
)

// importFlags are those of refit import, as given.
type importFlags struct {
	dryRun     string
	diff       bool
	force      bool
	system     bool
	patience   time.Duration
	identities []string
}

func newImportCommand(a *app) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import PATH...",
		Short: "Make the objects of files in the cluster, in the right order",
		Long: "Apply the objects of files: what refit export has written, lists of kubectl get -o yaml, manifests of any other\n" +
			"tool, - for the standard input. All files are read and checked first; what is wrong with any of them is said\n" +
			"before anything is touched.\n\n" +
			"Namespaces come first, then definitions of custom resources (which are waited for), classes and volumes,\n" +
			"accounts and roles, configuration, workloads, the rest, and webhooks, policies and API services last; an owner before\n" +
			"what it owns. Owner references get the UIDs that the owners have in this cluster. Objects are sent by\n" +
			"server-side apply, many at a time, as field manager refit. Nothing is ever deleted.\n\n" +
			"Fields that somebody else has set to other values are conflicts: the object is left as it is, and named with who\n" +
			"has set them (exit code 1). After an interruption (exit code 4) the same command carries on.\n\n" +
			"Objects of kube-system, kube-public and kube-node-lease that are there say where the API server of this cluster is, who\n" +
			"signs for it, and how nodes join: --force-conflicts does not overrule them, but refuses (exit code 3) unless --system is said.",
		Example: "  # See what would change\n" +
			"  refit import cluster/ --diff\n\n" +
			"  # An export into another cluster, with its Secrets\n" +
			"  refit import cluster/ --identity key.txt --context other\n\n" +
			"  # What kubectl has written\n" +
			"  kubectl get configmaps -n shop -o yaml | refit import - --yes",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.importing(cmd.Context(), args, &f) },
	}
	f.add(cmd.Flags())
	offer(cmd, "dry-run", string(drain.DryRunNone), string(drain.DryRunServer))
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (f *importFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dryRun, "dry-run", string(drain.DryRunNone), "none, or server (ask the API server, which changes nothing)")
	flags.Lookup("dry-run").NoOptDefVal = string(drain.DryRunServer)
	flags.BoolVar(&f.diff, "diff", false, "show what would change, line by line, and change nothing")
	flags.BoolVar(&f.force, "force-conflicts", false, "set fields that others have set to other values")
	flags.BoolVar(&f.system, "system", false, "with --force-conflicts: also in objects that the cluster itself stands on, such as those of kube-system")
	flags.DurationVar(&f.patience, "timeout", time.Minute, "how long what may pass is tried again, from the last object that could be made")
	flags.StringArrayVar(&f.identities, "identity", nil, "a file with keys of age, or a private SSH key, for files that are encrypted")
}

func (a *app) importing(ctx context.Context, paths []string, f *importFlags) error {
	dryRun := drain.DryRun(f.dryRun)
	if dryRun != drain.DryRunNone && dryRun != drain.DryRunServer {
		return usageError(fmt.Errorf("--dry-run %q: want none or server", f.dryRun))
	}
	if f.patience <= 0 {
		return usageError(fmt.Errorf("--timeout %s: want a time above 0", f.patience))
	}
	if f.diff && (a.output == "json" || a.output == "yaml") {
		return usageError(errors.New("--diff writes text: leave --output out, or use --dry-run=server"))
	}
	identities, err := seal.ReadIdentities(f.identities)
	if err != nil {
		return usageError(err)
	}
	if f.system && !f.force {
		return usageError(errors.New("--system goes with --force-conflicts"))
	}
	loaded, err := apply.Load(paths, a.In, identities)
	if err != nil {
		return usageError(err)
	}
	config, _, err := a.client()
	if err != nil {
		return err
	}
	namespace, _, err := a.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return usageError(err)
	}
	api, err := served.Read(ctx, config)
	if err != nil {
		return interrupted(ctx, err)
	}
	prepared, err := apply.Prepare(ctx, api, loaded.Objects, namespace)
	switch {
	case errors.As(err, new(*apply.InputError)):
		return usageError(err)
	case errors.As(err, new(*apply.BlockedError)):
		return exitWith(exitBlocked, err)
	case err != nil:
		return interrupted(ctx, err)
	}
	prepared.Warnings = append(loaded.Warnings, prepared.Warnings...)
	if err := f.guard(prepared, dryRun == drain.DryRunNone && !f.diff); err != nil {
		return err
	}
	options := apply.Options{Force: f.force, DryRun: dryRun == drain.DryRunServer, Patience: f.patience, Clock: clock.RealClock{}, Sink: event.Discard}
	if f.diff {
		return a.diff(ctx, prepared, options)
	}
	a.showImport(prepared)
	if !options.DryRun {
		if err := a.confirm(ctx); err != nil {
			return err
		}
	}
	return a.apply(ctx, prepared, options, dryRun)
}

// guard refuses to overrule others in what the cluster itself stands on, unless that is said, and warns of
// what may be changed of it without that.
func (f *importFlags) guard(p *apply.Prepared, changes bool) error {
	if len(p.System) == 0 || f.system {
		return nil
	}
	which := fmt.Sprintf("%s that the cluster itself stands on %s there: %s", phrase.Count(len(p.System), "object"), phrase.Plural(len(p.System), "is", "are"), phrase.Few(p.System, 5))
	if f.force && changes {
		return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("--force-conflicts would overrule what others have set there; nothing was changed: %s", which),
			"leave the directories of kube-system, kube-public and kube-node-lease out; or say --system, if the files are of this very cluster"))
	}
	p.Warnings = append(p.Warnings, which+"; another cluster's have no place there")
	return nil
}

// showImport tells what is about to be done.
func (a *app) showImport(p *apply.Prepared) {
	var phase string
	line := func(created, existing int) {
		a.say(fmt.Sprintf("  %-36s %5d new, %5d that are there", phase, created, existing))
	}
	a.say("import, in this order:")
	created, existing := 0, 0
	for _, s := range p.Steps {
		if name := s.Phase.String(); name != phase {
			if phase != "" {
				line(created, existing)
			}
			phase, created, existing = name, 0, 0
		}
		created += s.New
		existing += s.Existing
	}
	line(created, existing)
	for _, w := range p.Warnings {
		a.say("warning: " + report.Printable(w))
	}
}

func (a *app) apply(ctx context.Context, p *apply.Prepared, o apply.Options, dryRun drain.DryRun) error {
	reporter, err := a.reporter(dryRun)
	if err != nil {
		return err
	}
	o.Sink = reporter
	started := o.Clock.Now()
	for _, w := range p.Warnings {
		if a.output == "json" || a.output == "yaml" { // a person has read them before the question
			reporter.Emit(event.Event{Time: started, Type: event.Warning, Message: w})
		}
	}
	counts, err := p.Apply(ctx, o)
	summary := event.Event{Time: o.Clock.Now(), Type: event.Summary, Result: event.ResultDone, Objects: counts, Seconds: o.Clock.Since(started).Seconds()}
	summary.Message = importText(counts, summary.Seconds, o.DryRun)
	switch {
	case ctx.Err() != nil:
		summary.Result = event.ResultUnfinished
		summary.Hint = "the same command carries on: what is as it should be stays untouched"
	case err != nil:
		summary.Result = event.ResultFailed
		summary.Message += "; " + err.Error()
	case counts["failed"] > 0:
		summary.Result = event.ResultFailed
	}
	reporter.Emit(summary)
	if err := reporter.Close(); err != nil {
		return err
	}
	if code := resultCode(summary.Result); code != exitDone {
		return exitWith(code, nil)
	}
	return nil
}

// importText is the end of a report.
func importText(counts apply.Counts, seconds float64, dryRun bool) string {
	all := 0
	for _, n := range counts {
		all += n
	}
	text := fmt.Sprintf("%s in %.1fs: %d created, %d configured, %d unchanged", phrase.Count(all, "object"), seconds,
		counts[event.ReasonCreated], counts[event.ReasonConfigured], counts[event.ReasonUnchanged])
	if n := counts["unchecked"]; n > 0 {
		text += fmt.Sprintf(", %d not checked, since what they need is not there yet", n)
	}
	if n := counts["failed"]; n > 0 {
		text += fmt.Sprintf(", %d failed", n)
	}
	if dryRun {
		text += "; nothing was changed"
	}
	return text
}

// diff writes what an import would change.
func (a *app) diff(ctx context.Context, p *apply.Prepared, o apply.Options) error {
	failed, differ := 0, 0
	err := p.Diff(ctx, o, func(d apply.Difference) error {
		name := (&event.Object{Group: d.Key.Group, Kind: d.Key.Kind, Namespace: d.Key.Namespace, Name: d.Key.Name}).String()
		if why := d.Failed; why != nil {
			failed++
			_, err := fmt.Fprintf(a.ErrOut, "%s cannot be applied: %s\n", oneLine(name), oneLine(why.Error()))
			return err
		}
		differ++
		does := "changes"
		if d.New {
			does = "is new"
		}
		if _, err := fmt.Fprintf(a.Out, "%s %s\n", oneLine(name), does); err != nil {
			return err
		}
		for _, line := range d.Lines {
			if _, err := fmt.Fprintf(a.Out, "  %s\n", oneLine(line)); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return interrupted(ctx, err)
	case failed > 0:
		return exitWith(exitFailed, fmt.Errorf("%s cannot be applied", phrase.Count(failed, "object")))
	case differ == 0:
		a.say("nothing would change")
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/provider"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
	"refit.dev/refit/upgrade"
)

// applyFlags are those of refit upgrade apply, as given.
type applyFlags struct {
	upgradeFlags
	plan, out, provider, pauseAfter string
	backupDir                       string
	acceptDowntime, dryRun          bool
	patience                        time.Duration
	backupDirSaid                   bool
	reach                           sshFlags
	request                         run.UpgradeRequest
	makes                           *provider.Config // of machines, with --strategy replace
	saved                           *upgrade.SavedPlan
}

func newUpgradeApplyCommand(a *app) *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply (--to VERSION | --plan FILE)",
		Short: "Upgrade the cluster, node by node",
		Long: "Bring every node to a version of Kubernetes: the control planes one after the other, then the\n" +
			"workers, never more than --max-unavailable out at once and within the budgets. First of all etcd is\n" +
			"saved to a file, and it is proven that it can be restored. Package lists, packages and images are\n" +
			"fetched ahead on all machines. On each node: kubeadm, drain, kubelet and\n" +
			"kubectl, restart, Ready at the version; then what really runs there is looked at, whatever the\n" +
			"commands have said, and the node is uncordoned.\n\n" +
			"Where components are services of systemd, binaries are sent ahead instead, from the place that\n" +
			"--binaries names, and asked whether they know the flags of their units. Each component is put into\n" +
			"its place and restarted, and if it is not well in time, the one of before comes back by itself.\n\n" +
			"Machines are reached over SSH at their InternalIP, as the user's ssh would: by keys, and with host\n" +
			"keys that are known. --inventory is for exceptions.\n\n" +
			"Everything is recorded before it is done, and what takes long goes on by itself on its machine.\n" +
			"After a failure nothing new is started; refit runs resume carries on, also after a crash, a Ctrl-C\n" +
			"or a lost connection.",
		Example: "  # See what would be done, then do it\n" +
			"  refit upgrade plan --to v1.37.2\n" +
			"  refit upgrade apply --to v1.37.2\n\n" +
			"  # Save the plan, have it approved, and carry it out if it still holds\n" +
			"  refit upgrade apply --to v1.37.2 --out upgrade.yaml\n" +
			"  refit upgrade apply --plan upgrade.yaml\n\n" +
			"  # A cluster of binaries and systemd units\n" +
			"  refit upgrade apply --to v1.37.2 --binaries https://dl.k8s.io/release\n\n" +
			"  # Look at the first worker before the others follow\n" +
			"  refit upgrade apply --to v1.37.2 --yes --pause-after first-worker\n" +
			"  refit runs resume\n\n" +
			"  # Two workers at a time, with a look at the monitoring after each node\n" +
			"  refit upgrade apply --to v1.37.2 --max-unavailable 2 --after-node './alerts-quiet.sh \"$REFIT_NODE\"'",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.completeApply(cmd, a.In); err != nil {
				return usageError(err)
			}
			return a.upgradeApply(cmd.Context(), f)
		},
	}
	f.addApply(cmd.Flags())
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	offer(cmd, "strategy", string(upgrade.Rolling), string(upgrade.AllAtOnce), string(upgrade.Replace))
	offer(cmd, "method", string(upgrade.Kubeadm), string(upgrade.Units), string(upgrade.Managed))
	offer(cmd, "pause-after", string(run.AfterControlPlane), string(run.AfterFirstWorker))
	return cmd
}

func (f *applyFlags) addApply(flags *pflag.FlagSet) {
	f.add(flags, "")
	r, t := &f.request, &f.request.Timeouts
	*t = run.DefaultTimeouts()
	flags.StringVar(&f.plan, "plan", "", "carry out the plan that was saved in this file (- is the standard input)")
	lookFlag(flags, &f.dryRun)
	flags.StringVar(&f.out, "out", "", "save the plan to this file (- is the standard output), show it, and change nothing")
	flags.StringVar(&f.provider, "provider", "", "with --strategy replace: the file with the commands that make, remove and list machines")
	flags.BoolVar(&f.acceptDowntime, "accept-downtime", false, "with --strategy all-at-once: pods of all workers may be disturbed at the same time")
	flags.StringVar(&f.pauseAfter, "pause-after", "", "stop after the control-plane, or after the first-worker; refit runs resume goes on")
	flags.DurationVar(&r.Soak, "soak", 0, "how long to wait after a node is back and its workloads have recovered, before the next")
	flags.StringArrayVar(&r.Probes, "probe-service", nil, "ask this Service, NAMESPACE/NAME[:PORT], from a worker's machine all through the upgrade, and tell how it answered (can be repeated)")
	flags.BoolVar(&r.SurgeSingletons, "surge-singletons", false, "restart Deployments whose pods can never be evicted, so that their replacements run before the node is drained")
	flags.StringVar(&r.Upgrade.Hooks.BeforeNode, "before-node", "", "run this command in the shell of this machine before each node")
	flags.StringVar(&r.Upgrade.Hooks.AfterNode, "after-node", "", "run this command after each node, when its workloads have recovered")
	flags.StringVar(&r.Upgrade.Hooks.BeforeStage, "before-stage", "", "run this command before each stage: each control plane, and the workers of a hop")
	flags.StringVar(&r.Upgrade.Hooks.AfterStage, "after-stage", "", "run this command after each stage")
	flags.StringSliceVar(&r.Upgrade.IgnorePreflight, "ignore-preflight-errors", nil, "checks of kubeadm that may fail, by name")
	flags.StringVar(&r.Upgrade.Patches, "patches", "", "the directory on the machines with patches for kubeadm")
	flags.BoolVar(&r.Upgrade.Clean, "clean", false, "remove the copies of etcd's data that kubeadm leaves")
	flags.StringVar(&f.backupDir, "backup-dir", "", "the directory for the snapshot of etcd that is saved and proven first (default: backups in the state directory)")
	f.reach.add(flags)
	flags.DurationVar(&t.Drain.Duration, "drain-timeout", t.Drain.Duration, "how long the drain of one node may take")
	flags.DurationVar(&f.patience, "component-timeout", run.DefaultPatience, "with --method units: how long a component may take to be well at its new version before the one of before is put back")
	flags.DurationVar(&t.Ready.Duration, "ready-timeout", t.Ready.Duration, "how long a node may take to be Ready, and what it runs to be as it is to be")
	flags.DurationVar(&t.Recover.Duration, "recover-timeout", t.Recover.Duration, "how long the workloads of a node may take to be back")
	flags.DurationVar(&t.Stall.Duration, "stall-timeout", t.Stall.Duration, "how long to go on while the API server cannot be reached, or other nodes leave no room")
}

// inPlan are the flags that a saved plan says.
var inPlan = [...]string{"to", "worker-hops", "max-unavailable", "no-backup", "method", "binaries", "force", "delete-emptydir-data", "allow-unsupported", "allow-removed-apis"}

// completeApply reads the plan if one was saved, from in if it is -, and puts into the request what flags of other types say.
func (f *applyFlags) completeApply(cmd *cobra.Command, in io.Reader) error {
	flags := cmd.Flags()
	if flags.Changed("plan") {
		var said []string
		flags.Visit(func(x *pflag.Flag) {
			if slices.Contains(inPlan[:], x.Name) {
				said = append(said, "--"+x.Name)
			}
		})
		if len(said) > 0 {
			return hint.Wrap(fmt.Errorf("--plan excludes %s: the plan says it", strings.Join(said, ", ")), "make another plan, or leave out what excludes it")
		}
		if flags.Changed("out") {
			return hint.Wrap(errors.New("--plan excludes --out: it is saved already"), "--dry-run looks whether it still holds, and shows it")
		}
		if err := f.read(cmd, in); err != nil {
			return err
		}
	} else if err := f.complete(); err != nil {
		return err
	}
	if flags.Changed("out") {
		if err := checkOut(f.out, upgrade.ReadPlan); err != nil {
			return err
		}
	}
	switch run.Gate(f.pauseAfter) {
	case "", run.AfterControlPlane, run.AfterFirstWorker:
	default:
		return fmt.Errorf("--pause-after %q: want %s or %s", f.pauseAfter, run.AfterControlPlane, run.AfterFirstWorker)
	}
	if err := f.completeWay(flags); err != nil {
		return err
	}
	for _, name := range []string{"component-timeout", "drain-timeout", "ready-timeout", "recover-timeout", "stall-timeout"} {
		if d, err := flags.GetDuration(name); err == nil && d <= 0 {
			return fmt.Errorf("--%s %s: want more than 0", name, d)
		}
	}
	if f.request.Soak < 0 {
		return fmt.Errorf("--soak %s: want 0 (none) or more", f.request.Soak)
	}
	if err := f.completeBackup(flags.Changed("backup-dir")); err != nil {
		return err
	}
	access, err := f.reach.access()
	if err != nil {
		return err
	}
	f.request.Access = *access
	return nil
}

// read reads the saved plan, which says the way where no flag does.
func (f *applyFlags) read(cmd *cobra.Command, in io.Reader) (err error) {
	if f.saved, err = readPlanFile(cmd.Context(), in, f.plan, upgrade.ReadPlan, "refit upgrade plan"); err != nil {
		return err
	}
	spec := f.saved.Spec
	if !cmd.Flags().Changed("strategy") {
		f.strategy = string(cmp.Or(spec.Strategy, upgrade.Rolling))
	}
	if !cmd.Flags().Changed("surge") {
		f.surge = max(1, spec.Surge)
	}
	f.intent.Method = f.saved.Method
	return nil
}

// completeWay sees to it that all that a strategy needs was said.
func (f *applyFlags) completeWay(flags *pflag.FlagSet) (err error) {
	if err := f.completeStrategy(); err != nil { // a saved plan may say another
		return err
	}
	switch f.intent.Strategy {
	case upgrade.AllAtOnce:
		if !f.acceptDowntime {
			return hint.Wrap(errors.New("--strategy all-at-once disturbs the pods of all workers at the same time, without drains and budgets"),
				"say --accept-downtime if that is what you want, or leave --strategy out")
		}
		f.request.Upgrade.AllAtOnce = true
	case upgrade.Replace:
		if f.provider == "" {
			return hint.Wrap(errors.New("--strategy replace needs to know who makes and removes machines"), "name the file with the commands: --provider FILE")
		}
		if f.makes, err = provider.LoadConfig(f.provider); err != nil {
			return hint.Wrap(fmt.Errorf("--provider: %w", err), "%s", cmp.Or(hint.Of(err), "docs/how-to/replace-nodes.md says what stands in such a file"))
		}
		if f.intent.Method == upgrade.Managed && f.makes.Upgrade == nil {
			return hint.Wrap(fmt.Errorf("--provider %s: it names no command that raises the control plane", f.provider), "add one: upgrade: {command: [...]}")
		}
		if flags.Changed("max-unavailable") {
			return hint.Wrap(errors.New("--strategy replace takes no worker out before its new machine is in service, so that --max-unavailable has no say"),
				"leave it out; --surge is how many machines more there may be")
		}
	case upgrade.Rolling:
	}
	if f.intent.Method == upgrade.Managed {
		if f.intent.Strategy != upgrade.Replace {
			return hint.Wrap(errors.New("--method managed goes with --strategy replace: nodes give way to new ones"), "say --strategy replace --provider FILE")
		}
		if flags.Changed("backup-dir") {
			return hint.Wrap(errors.New("--method managed: etcd cannot be reached, so that there is no backup of it"), "leave --backup-dir out, and ask the provider about backups")
		}
	}
	for _, name := range []string{"provider", "surge"} {
		if flags.Changed(name) && f.intent.Strategy != upgrade.Replace {
			return fmt.Errorf("--%s goes with --strategy replace", name)
		}
	}
	return nil
}

// completeBackup finds the directory for the backup.
func (f *applyFlags) completeBackup(said bool) (err error) {
	f.backupDirSaid = said // a saved plan may take none
	switch {
	case said && f.intent.NoBackup:
		return hint.Wrap(errors.New("--backup-dir and --no-backup exclude each other"), "leave one of them out")
	case said:
		f.backupDir, err = filepath.Abs(f.backupDir)
	default:
		f.backupDir, err = statedir.Path("backups")
	}
	return err
}

func (a *app) upgradeApply(ctx context.Context, f applyFlags) error {
	plan, state, err := a.planToApply(ctx, &f)
	if err != nil {
		return err
	}
	look := f.dryRun || f.out != ""
	saved := upgrade.Save(state, f.intent, plan)
	if look {
		err = a.showUpgrade(&saved, f.out == "-" && len(plan.Blockers()) == 0)
	} else {
		err = a.showBeforehand(plan)
	}
	if err != nil {
		return err
	}
	if n := len(plan.Blockers()); n > 0 {
		return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("the plan has blockers: %d; nothing was changed", n), "mend what they name, then try again"))
	}
	if len(plan.Hops) == 0 {
		a.say(fmt.Sprintf("every node is at %s: there is nothing to do", plan.To))
		return nil
	}
	r := &f.request
	r.Upgrade.To = plan.To.String()
	if !f.intent.NoBackup {
		r.BackupDir = f.backupDir
	}
	r.Upgrade.Stages, r.Upgrade.Held = run.StagesOf(plan, run.Gate(f.pauseAfter))
	run.NoteHeld(r.Upgrade.Held, state.Hosts)
	r.Upgrade.KubeProxy = slices.ContainsFunc(plan.Hops, func(h upgrade.Hop) bool { return h.KubeProxy })
	if state.Config != nil {
		r.Upgrade.ImageRepository, r.Upgrade.ExternalEtcd = state.Config.ImageRepository, state.Config.ExternalEtcd
	}
	if plan.Method == upgrade.Managed {
		r.Upgrade.Managed, r.BackupDir = &run.Managed{Settle: metav1.Duration{Duration: run.DefaultSettle}}, ""
	}
	if plan.Method == upgrade.Units {
		r.Upgrade.Units = &run.Binaries{Source: f.intent.Source, Sums: plan.Binaries, Patience: metav1.Duration{Duration: f.patience}}
	}
	if f.makes != nil {
		r.Upgrade.Replace = &run.Replace{Surge: f.intent.Surge, Provider: *f.makes}
	}
	r.Drain = run.Drain{IgnoreDaemonSets: true, Force: f.intent.Force, DeleteEmptyDirData: f.intent.DeleteEmptyDirData}
	r.MaxUnavailable = f.share
	if err := r.Access.Check(func(name string) bool { return state.Snapshot.Node(name) != nil }); err != nil {
		return usageError(err)
	}
	operator, reporter, err := a.operator()
	if err != nil {
		return err
	}
	outcome, err := func() (run.Outcome, error) {
		prepared, err := operator.PrepareUpgrade(ctx, *r)
		if err != nil {
			return run.Outcome{}, err
		}
		defer prepared.Close()
		for _, w := range prepared.Warnings {
			a.say("warning: " + report.Printable(w))
		}
		if look {
			return run.Outcome{Result: event.ResultDone}, a.saveUpgrade(f.out, saved)
		}
		if err := a.confirm(ctx); err != nil {
			return run.Outcome{}, err
		}
		return prepared.Run(ctx)
	}()
	return outcomeError(ctx, outcome, errors.Join(err, reporter.Close()))
}

// saveUpgrade saves a plan if a file is named for it.
func (a *app) saveUpgrade(out string, saved upgrade.SavedPlan) error {
	if out == "" {
		return nil
	}
	return a.savePlan(out, saved, "refit upgrade apply --plan %s carries it out")
}

// planToApply makes the plan, or reads the one that was saved.
func (a *app) planToApply(ctx context.Context, f *applyFlags) (*upgrade.Plan, *upgrade.State, error) {
	if f.plan == "" {
		state, err := a.observeUpgrade(ctx, f.intent, &f.request.Access)
		if err != nil {
			return nil, nil, err
		}
		f.intent.MaxUnavailable = f.share.Of(len(state.Snapshot.Nodes))
		f.intent.IgnorePreflight = f.request.Upgrade.IgnorePreflight
		return upgrade.Decide(state, f.intent), state, nil
	}
	saved := f.saved
	if err := f.sameWay(saved); err != nil {
		return nil, nil, err
	}
	state, err := a.observeUpgrade(ctx, saved.Again(), &f.request.Access)
	if err != nil {
		return nil, nil, err
	}
	if err := stillHolds(saved, state, f.plan); err != nil {
		return nil, nil, err
	}
	if f.backupDirSaid && saved.Spec.NoBackup {
		return nil, nil, usageError(hint.Wrap(fmt.Errorf("--plan %s takes no backup, and --backup-dir names a directory for one", f.plan),
			"leave --backup-dir out, or make another plan"))
	}
	f.intent = saved.Spec
	f.share, err = run.ParseShare(fmt.Sprint(saved.MaxUnavailable))
	return &saved.Plan, state, err
}

// sameWay fails if a saved plan is for another strategy than was asked for.
func (f *applyFlags) sameWay(saved *upgrade.SavedPlan) error {
	was := cmp.Or(saved.Spec.Strategy, upgrade.Rolling)
	if was == f.intent.Strategy && saved.Spec.Surge == f.intent.Surge {
		return nil
	}
	if was == f.intent.Strategy {
		return usageError(hint.Wrap(fmt.Errorf("--plan %s: it is for --surge %d", f.plan, saved.Spec.Surge), "say the same, or make another plan"))
	}
	return usageError(hint.Wrap(fmt.Errorf("--plan %s: it is for --strategy %s", f.plan, was), "say the same, or make another plan"))
}

// showBeforehand shows a plan to whoever is asked about it.
func (a *app) showBeforehand(p *upgrade.Plan) error {
	canvas, err := report.CanvasOf(a.ErrOut, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	_, err = io.WriteString(a.ErrOut, upgradeView{Canvas: canvas, wide: a.output == "wide"}.text(p))
	return err
}

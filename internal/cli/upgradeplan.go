// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd/proven"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/release"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// upgradeFlags say what is wanted of an upgrade.
type upgradeFlags struct {
	to, workers, maxUnavailable string
	strategy, method            string
	surge                       int
	intent                      upgrade.Intent
	share                       run.Share
	compares                    bool // a strategy may be all
}

// add adds the flags; also is what else a strategy may be.
func (f *upgradeFlags) add(flags *pflag.FlagSet, also string) {
	f.compares = also != ""
	flags.StringVar(&f.to, "to", "", "the version to go to: v1.37.2, 1.37.2, or 1.37 for the newest patch that every host can install")
	flags.StringVar(&f.workers, "worker-hops", string(skew.FewestHops), "on a way of several minors, move workers as seldom as the version-skew policy allows (fewest), or at each hop (each)")
	flags.StringVar(&f.maxUnavailable, "max-unavailable", "10%", "how many nodes of the cluster may be out at once while workers move: a number, or a percentage of all nodes (one at least)")
	flags.StringVar(&f.strategy, "strategy", string(upgrade.Rolling), "how workers get there: rolling; all-at-once, without drains and all of them at the same time; or replace, by new machines"+also)
	flags.IntVar(&f.surge, "surge", 1, "with --strategy replace: how many machines more there may be meanwhile")
	flags.StringVar(&f.method, "method", "", "how versions are raised: kubeadm, where the control plane runs in static pods; units, where components are services of systemd (default: what is found); managed, where somebody else runs the control plane")
	flags.StringVar(&f.intent.Source, "binaries", "", "with --method units: where binaries come from, a directory, file:// or https:// URL that is laid out like a release of Kubernetes, with sums")
	flags.BoolVar(&f.intent.Force, "force", false, "also evict pods that no controller would replace")
	flags.BoolVar(&f.intent.DeleteEmptyDirData, "delete-emptydir-data", false, "also evict pods with emptyDir volumes, whose data is lost")
	flags.BoolVar(&f.intent.NoBackup, "no-backup", false, "save no etcd before anything is touched")
	flags.BoolVar(&f.intent.AllowUnsupported, "allow-unsupported", false, "go to a minor that gets no fixes any more, or to a pre-release")
	flags.BoolVar(&f.intent.AllowRemovedAPIs, "allow-removed-apis", false, "go on although somebody has asked for APIs that the new version does not have")
}

// complete puts into the intent what flags of other types say.
func (f *upgradeFlags) complete() (err error) {
	if f.to == "" {
		return errors.New("--to is missing: say which version to go to, such as --to v1.37.2")
	}
	if f.intent.Version, err = skew.Parse(f.to); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if f.intent.Workers, err = skew.ParseWorkerHops(f.workers); err != nil {
		return fmt.Errorf("--worker-hops %w", err)
	}
	if f.share, err = run.ParseShare(f.maxUnavailable); err != nil {
		return fmt.Errorf("--max-unavailable %w", err)
	}
	if err := f.completeMethod(); err != nil {
		return err
	}
	return f.completeStrategy()
}

// completeMethod puts the method into the intent, and the place of the binaries in full.
func (f *upgradeFlags) completeMethod() (err error) {
	if f.intent.Method, err = upgrade.ParseMethod(f.method); err != nil {
		return fmt.Errorf("--method %w", err)
	}
	if f.intent.Source == "" {
		return nil
	}
	if f.intent.Method == upgrade.Kubeadm {
		return errors.New("--binaries goes with --method units: kubeadm takes packages from the repositories of each machine")
	}
	source, err := release.OpenCached(f.intent.Source)
	if err != nil {
		return fmt.Errorf("--binaries: %w", err) // which names the place, unless that has a login
	}
	f.intent.Source = source.String()
	return nil
}

// completeStrategy puts the strategy into the intent.
func (f *upgradeFlags) completeStrategy() error {
	switch f.intent.Strategy = upgrade.Strategy(f.strategy); f.intent.Strategy {
	case upgrade.Rolling, upgrade.AllAtOnce, upgrade.Replace:
	default:
		if f.compares {
			return fmt.Errorf("--strategy %q: want %s, %s, %s or %s", f.strategy, upgrade.Rolling, upgrade.AllAtOnce, upgrade.Replace, allStrategies)
		}
		return fmt.Errorf("--strategy %q: want %s, %s or %s", f.strategy, upgrade.Rolling, upgrade.AllAtOnce, upgrade.Replace)
	}
	if f.surge < 1 {
		return fmt.Errorf("--surge %d: want 1 or more", f.surge)
	}
	f.intent.Surge = 0
	if f.intent.Strategy == upgrade.Replace {
		f.intent.Surge = f.surge
	}
	return nil
}

func newUpgradePlanCommand(a *app) *cobra.Command {
	var f upgradeFlags
	var reach sshFlags
	var out, file string
	noHosts, all := false, false
	cmd := &cobra.Command{
		Use:   "plan (--to VERSION | --plan FILE)",
		Short: "Show how the cluster gets to a version, and what is in the way",
		Long: "Read the cluster and show the way to a version of Kubernetes: which hops it takes, what every\n" +
			"component is now and will be after each, what is done on which node in which order and about how\n" +
			"long it takes, and everything that was found to be in the way. Nothing is changed.\n\n" +
			"An upgrade that somebody has begun is finished first. Machines are looked at over SSH at their\n" +
			"InternalIP, as the user's ssh would log in; --no-hosts leaves them out. What could not be seen is\n" +
			"said, and not guessed.\n\n" +
			"The exit code is 3 if there is a blocker. A plan without one can be saved with --out; --plan\n" +
			"looks whether a saved one still holds, and says what has changed since.",
		Example: "  # How does the cluster get to 1.37.2?\n" +
			"  refit upgrade plan --to v1.37.2\n\n" +
			"  # Every component on every node, and which pod moves where\n" +
			"  refit upgrade plan --to v1.37.2 -o wide\n\n" +
			"  # Save the plan; look later whether it still holds\n" +
			"  refit upgrade plan --to v1.37.2 --out upgrade.yaml\n" +
			"  refit upgrade plan --plan upgrade.yaml\n\n" +
			"  # Rolling, all at once, or by new machines? The three side by side\n" +
			"  refit upgrade plan --to v1.37.2 --strategy all --surge 2\n\n" +
			"  # What blocks\n" +
			"  refit upgrade plan --to v1.37.2 -o json | jq -r '.findings[] | select(.severity == \"blocker\") | .message'",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var access *inventory.Access
			if !noHosts {
				var err error
				if access, err = reach.access(); err != nil {
					return usageError(err)
				}
			}
			if cmd.Flags().Changed("plan") {
				if err := onlyPlan(nil, cmd, "ssh-config", "ssh-user", "ssh-key", "inventory", "no-hosts"); err != nil {
					return usageError(err)
				}
				return a.upgradeCheckPlan(cmd.Context(), file, access)
			}
			if f.strategy == allStrategies {
				if cmd.Flags().Changed("out") {
					return usageError(errors.New("--strategy all compares, and makes no plan that could be saved: choose one, then --out"))
				}
				f.strategy, all = string(upgrade.Rolling), true
			}
			if err := f.complete(); err != nil {
				return usageError(err)
			}
			if all {
				return a.upgradeCompare(cmd.Context(), f, access)
			}
			if cmd.Flags().Changed("out") {
				if err := checkOut(out, upgrade.ReadPlan); err != nil {
					return usageError(err)
				}
			}
			return a.upgradePlan(cmd.Context(), f, access, out)
		},
	}
	f.add(cmd.Flags(), "; all compares the three")
	reach.add(cmd.Flags())
	cmd.Flags().BoolVar(&noHosts, "no-hosts", false, "look at no machine: what only machines can tell is then not known")
	cmd.Flags().StringVar(&out, "out", "", "save the plan to this file (- is the standard output) and show it")
	cmd.Flags().StringVar(&file, "plan", "", "look whether the plan that was saved in this file (- is the standard input) still holds")
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	offer(cmd, "method", string(upgrade.Kubeadm), string(upgrade.Units), string(upgrade.Managed))
	offer(cmd, "worker-hops", string(skew.FewestHops), string(skew.EachHop))
	offer(cmd, "strategy", string(upgrade.Rolling), string(upgrade.AllAtOnce), string(upgrade.Replace), allStrategies)
	return cmd
}

// observeUpgrade reads what an upgrade is decided from; without an access no machine is looked
// at, and with the strategy replace none of a worker.
func (a *app) observeUpgrade(ctx context.Context, in upgrade.Intent, access *inventory.Access) (*upgrade.State, error) {
	_, client, err := a.client()
	if err != nil {
		return nil, err
	}
	o := upgrade.Observer{Client: client, Get: upgrade.GetWith(client), Strategy: in.Strategy, Method: in.Method, Clock: clock.RealClock{}}
	if access != nil {
		reach, closing, err := a.machines(*access)
		if err != nil {
			return nil, err
		}
		defer func() { _ = closing() }() // they were looked at, and nothing else
		byUnits := upgrade.UnitMachines{Reach: reach, Goal: in.Version}
		if in.Source != "" {
			if byUnits.Source, err = release.OpenCached(in.Source); err != nil {
				return nil, usageError(fmt.Errorf("the source of the binaries: %w", err))
			}
		}
		o.Hosts, o.Units = upgrade.Machines{Reach: reach}, byUnits
	}
	state, err := o.Observe(ctx, in.Version)
	if err != nil {
		return nil, err
	}
	if in.Source != "" && state.Method != upgrade.Units {
		return nil, usageError(hint.Wrap(errors.New("--binaries goes with --method units, and nothing shows that this cluster is made of services of systemd"),
			"say --method units if it is; packages of a cluster of kubeadm come from the repositories of each machine"))
	}
	a.recallBackup(state)
	return state, nil
}

// recallBackup adds what this machine knows of proven backups.
func (a *app) recallBackup(state *upgrade.State) {
	store, err := proven.DefaultStore()
	var last *proven.Record
	if err == nil {
		last, err = store.Last(string(state.Cluster))
	}
	switch {
	case err != nil:
		a.say("warning: " + report.Printable(err.Error()))
	case last == nil:
		state.Backup = &upgrade.Backup{}
	default:
		state.Backup = &upgrade.Backup{Place: last.Place, Saved: last.Saved}
	}
}

func (a *app) upgradePlan(ctx context.Context, f upgradeFlags, access *inventory.Access, out string) error {
	state, err := a.observeUpgrade(ctx, f.intent, access)
	if err != nil {
		return err
	}
	f.intent.MaxUnavailable = f.share.Of(len(state.Snapshot.Nodes))
	saved := upgrade.Save(state, f.intent, upgrade.Decide(state, f.intent))
	blockers := saved.Blockers()
	if err := a.showUpgrade(&saved, out == "-" && len(blockers) == 0); err != nil {
		return err
	}
	switch {
	case len(blockers) > 0 && out != "":
		return exitWith(exitBlocked, fmt.Errorf("the plan has %s and was not saved", phrase.Count(len(blockers), "blocker")))
	case len(blockers) > 0:
		return exitWith(exitBlocked, nil)
	}
	return a.saveUpgrade(out, saved)
}

// showUpgrade writes the plan as data; aside, on stderr, if stdout is for the plan
// that is saved.
func (a *app) showUpgrade(p *upgrade.SavedPlan, aside bool) error {
	w := a.Out
	if a.output == "json" || a.output == "yaml" {
		if aside {
			return nil // it is the same
		}
		return report.WriteData(w, a.output, p)
	}
	if aside {
		w = a.ErrOut
	}
	canvas, err := report.CanvasOf(w, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	_, err = io.WriteString(w, upgradeView{Canvas: canvas, wide: a.output == "wide"}.text(&p.Plan))
	return err
}

// upgradeCheckPlan looks whether a saved plan still holds.
func (a *app) upgradeCheckPlan(ctx context.Context, file string, access *inventory.Access) error {
	saved, err := readPlanFile(ctx, a.In, file, upgrade.ReadPlan, "refit upgrade plan")
	if err != nil {
		return err
	}
	state, err := a.observeUpgrade(ctx, saved.Again(), access)
	if err != nil {
		return err
	}
	if err := stillHolds(saved, state, file); err != nil {
		return err
	}
	return a.showUpgrade(saved, false)
}

// stillHolds fails if a plan is not one for the cluster as it is.
func stillHolds(saved *upgrade.SavedPlan, state *upgrade.State, file string) error {
	if saved.Cluster != state.Cluster {
		return hint.Wrap(usageError(fmt.Errorf("--plan %s: the plan was made for another cluster", file)),
			"choose that cluster with --context or --kubeconfig")
	}
	if why := saved.Unreached(state); len(why) > 0 {
		made := "the plan was made with a look at its machines"
		if !saved.Ground.Looked() {
			made = "the plan was made without a look at its machines (--no-hosts)"
		}
		return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("%s, and %s cannot be reached now:\n  %s", made, phrase.Count(len(why), "machine"), strings.Join(why, "\n  ")),
			"--ssh-user, --ssh-key, --ssh-config and --inventory say how to log in; nothing was changed"))
	}
	if changes := saved.Stale(state); len(changes) > 0 {
		return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("the cluster has changed since the plan was made:\n  %s", strings.Join(changes, "\n  ")),
			"make a new plan; nothing was changed"))
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
	"refit.dev/refit/vault/retention"
)

// keepFlags say what is kept.
type keepFlags struct{ retention.Policy }

func (f *keepFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.Last, "keep-last", 0, "keep the newest N sets")
	flags.IntVar(&f.Hourly, "keep-hourly", 0, "keep the newest set of each of the last N hours that have one")
	flags.IntVar(&f.Daily, "keep-daily", 0, "keep the newest set of each of the last N days that have one")
	flags.IntVar(&f.Weekly, "keep-weekly", 0, "keep the newest set of each of the last N weeks that have one")
	flags.IntVar(&f.Monthly, "keep-monthly", 0, "keep the newest set of each of the last N months that have one")
}

func (f *keepFlags) check() error {
	return usageError(hint.Wrap(f.Check(), "say at least one of --keep-last, --keep-hourly, --keep-daily, --keep-weekly, --keep-monthly"))
}

func newBackupPruneCommand(a *app) *cobra.Command {
	var store storeFlags
	var trust trustFlags
	var keep keepFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune STORE",
		Short: "Remove the backup sets that no rule keeps",
		Long: "Remove the sets of a store that no rule keeps, and what was left of sets that were never finished (of\n" +
			"more than a day ago). Hours and days are those of UTC. Whatever the rules say, the set that was proven\n" +
			"last stays, and a full stays as long as a delta is kept that needs it. Sets whose manifests cannot be\n" +
			"read stay, too, and with --verify-key those that are not signed by that key. Sets that cannot be\n" +
			"relied upon - damaged ones, and those that are dated in the future - take no place of others.",
		Example: "  refit backup prune s3://backups/prod?region=eu-central-1 --keep-hourly 24 --keep-daily 14 --keep-monthly 12 --dry-run",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := vault.ParseStore(args[0])
			if err != nil {
				return usageError(err)
			}
			if err := keep.check(); err != nil {
				return err
			}
			by, err := trust.read()
			if err != nil {
				return err
			}
			s, err := store.open(cmd.Context(), where, false)
			if err != nil {
				return err
			}
			defer s.Close()
			return a.prune(cmd.Context(), s, keep.Policy, by, dryRun)
		},
	}
	store.add(cmd.Flags())
	trust.add(cmd.Flags())
	keep.add(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	a.yesFlag(cmd)
	cmd.Flags().Lookup("yes").Usage = "do not ask before removing sets"
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func (a *app) prune(ctx context.Context, s *vault.Store, policy retention.Policy, trust *vault.Verifier, dryRun bool) error {
	p, err := s.PlanPrune(ctx, policy, trust)
	if err != nil {
		return setError(ctx, err)
	}
	removed, untrusted := 0, 0
	for _, x := range p.Sets {
		if len(x.Reasons) == 0 {
			removed++
		}
		if x.Untrusted {
			untrusted++
		}
	}
	if a.output != "text" {
		err = report.WriteData(a.Out, a.output, p)
	} else {
		err = writePruning(a.Out, p)
	}
	if untrusted > 0 {
		a.say(fmt.Sprintf("warning: %s %s not signed by that key, and left alone, however many they become", phrase.Count(untrusted, "set"), phrase.Plural(untrusted, "is", "are")))
	}
	if err != nil || dryRun || removed+len(p.Orphans) == 0 {
		return err
	}
	if err := a.confirm(ctx); err != nil {
		return err
	}
	sum, err := s.Prune(ctx, p, func(x vault.Pruned) { a.say("removed " + x.Name) })
	if err != nil {
		return setError(ctx, err)
	}
	if left := removed + len(p.Orphans) - sum.Sets - sum.Leftovers; left > 0 {
		a.say(fmt.Sprintf("%d left alone, which belong to a set, or are needed by one, since that was shown", left))
	}
	a.say(fmt.Sprintf("%s and %s removed; %s are free", phrase.Count(sum.Sets, "set"), phrase.Count(sum.Leftovers, "leftover"), size(sum.Bytes)))
	return nil
}

func writePruning(w io.Writer, p *vault.Pruning) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tSTORED\tKEPT AS")
	for _, x := range p.Sets {
		why := "removed"
		if len(x.Reasons) > 0 {
			why = phrase.Few(x.Reasons, 5)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.Name, x.Kind, size(x.Bytes), oneLine(why))
	}
	for _, key := range p.Orphans {
		fmt.Fprintf(t, "%s\tleftover\t\tremoved\n", oneLine(key))
	}
	return t.Flush()
}

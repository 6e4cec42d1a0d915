// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
	"refit.dev/refit/vault/timer"
)

// scheduleFlags are those of backup schedule.
type scheduleFlags struct {
	timer.Schedule
	keep    keepFlags
	trust   trustFlags
	cron    bool
	install bool
	unitDir string
}

func newBackupScheduleCommand(a *app) *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use:   "schedule -- --to STORE FLAGS-OF-SAVE",
		Short: "Write a systemd timer or a line of cron that saves backup sets",
		Long: "Print a timer and a service of systemd, or a line of cron, that save sets to a store again and again.\n" +
			"What comes after -- are flags of refit backup save, which are looked at now. With rules what to keep\n" +
			"the store is pruned after each save. Credentials for the store belong into a file of their own, mode\n" +
			"0600, with a line NAME=VALUE each: --environment-file.\n\n" +
			"It is for the machine that runs this refit: a machine of the control plane, as root, or another one,\n" +
			"whose --environment-file has a line KUBECONFIG=/PATH, too: the service has neither the variables nor\n" +
			"the home of who installs it.\n\n" +
			"--install writes the units to /etc/systemd/system, and starts the timer; it takes root. Nothing is\n" +
			"replaced that refit has not written.",
		Example: "  # See it\n" +
			"  refit backup schedule --on-calendar hourly -- --to file:///backup/prod --recipients-file /etc/refit/admins.txt\n\n" +
			"  # Have it, and keep a day of hours and a year of months\n" +
			"  refit backup schedule --install --keep-hourly 24 --keep-monthly 12 --environment-file /etc/refit/s3.env \\\n" +
			"    -- --to s3://backups/prod?region=eu-central-1 --recipients-file /etc/refit/admins.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) == 0 {
				return usageError(hint.Wrap(errors.New("the flags of refit backup save are missing"), "put them after --: refit backup schedule -- --to STORE ..."))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.schedule(cmd.Context(), &f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.OnCalendar, "on-calendar", "hourly", "when: an expression of systemd.time(7), or of five fields with --cron")
	flags.StringVar(&f.EnvironmentFile, "environment-file", "", "a file with variables, such as the credentials of the store")
	flags.StringVar(&f.Name, "name", "refit-backup", "what the units are called")
	flags.BoolVar(&f.cron, "cron", false, "print a line of cron instead of units")
	flags.BoolVar(&f.install, "install", false, "write the units and start the timer")
	f.unitDir = "/etc/systemd/system"
	f.keep.add(flags)
	flags.StringVar(&f.trust.verifyKey, "verify-key", "", "prune by sets that are signed by this ed25519 public key alone: its file")
	return cmd
}

func (a *app) schedule(ctx context.Context, f *scheduleFlags, save []string) error {
	where, signs, err := checkSaveFlags(save)
	if err != nil {
		return err
	}
	if f.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Save = append([]string{f.Program, "backup", "save"}, save...)
	if keep := f.keep.args(); len(keep) > 0 {
		if err := f.keep.check(); err != nil {
			return err
		}
		f.Prune = append([]string{f.Program, "backup", "prune", where.String(), "--yes"}, keep...)
		if f.trust.verifyKey != "" {
			f.Prune = append(f.Prune, "--verify-key="+f.trust.verifyKey)
		}
	}
	if err := f.trust.check(len(f.keep.args()) > 0, signs); err != nil {
		return usageError(err)
	}
	if f.cron && !f.install {
		line, err := f.Cron()
		if err != nil {
			return usageError(err)
		}
		_, err = io.WriteString(a.Out, line)
		return err
	}
	if f.cron {
		return usageError(errors.New("--install writes units of systemd: without --cron"))
	}
	units, err := f.Units()
	if err != nil {
		return usageError(err)
	}
	if f.install {
		return a.installUnits(ctx, f, units)
	}
	for _, u := range units {
		fmt.Fprintf(a.Out, "# %s\n%s\n", filepath.Join(f.unitDir, u.Name), u.Text)
	}
	return nil
}

// args are the flags as they were given.
func (f *keepFlags) args() []string {
	var all []string
	for _, k := range []struct {
		name string
		n    int
	}{{"last", f.Last}, {"hourly", f.Hourly}, {"daily", f.Daily}, {"weekly", f.Weekly}, {"monthly", f.Monthly}} {
		if k.n != 0 {
			all = append(all, fmt.Sprintf("--keep-%s=%d", k.name, k.n))
		}
	}
	return all
}

// check finds now what would fail at night, or would never remove anything: sets that save does not sign, or signs by
// another key, are none for a prune that asks for this one. signs is the public half of save's key.
func (f *trustFlags) check(prunes bool, signs *vault.Verifier) error {
	switch {
	case f.verifyKey == "":
		return nil
	case !prunes:
		return errors.New("--verify-key is for pruning: say what to keep")
	case !filepath.IsAbs(f.verifyKey):
		return fmt.Errorf("%s: want an absolute path: nobody knows the directory in which it will run", f.verifyKey)
	}
	wants, err := f.read()
	switch {
	case err != nil:
		return err
	case signs == nil:
		return hint.Wrap(errors.New("save signs nothing, so that with --verify-key its sets would be trusted by no prune, and stay for ever"), "say --sign-key KEY behind the --, with the private half of %s", f.verifyKey)
	case !wants.Equal(signs):
		return hint.Wrap(fmt.Errorf("save signs by another key than that of --verify-key %s, so that its sets would be trusted by no prune, and stay for ever", f.verifyKey), "name the two halves of one key")
	}
	return nil
}

// checkSaveFlags finds now what would fail at night. It returns where to, and by whose key is signed, nil for nobody's.
func checkSaveFlags(args []string) (vault.Location, *vault.Verifier, error) {
	var reach etcdFlags
	var sets setFlags
	var output string
	flags := pflag.NewFlagSet("refit backup save", pflag.ContinueOnError)
	sets.add(flags)
	reach.add(flags)
	flags.StringVarP(&output, "output", "o", "text", "")
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return vault.Location{}, nil, hint.Wrap(usageError(fmt.Errorf("refit backup save: %w", err)), "refit backup save --help lists the flags; what kubeconfig to use is said by KUBECONFIG in --environment-file")
	}
	if _, _, secret := strings.Cut(reach.user, ":"); secret || reach.password != "" {
		return vault.Location{}, nil, usageError(hint.Wrap(errors.New("a password does not belong into a unit or a crontab, which others can read"),
			"put ETCDCTL_PASSWORD=... into the file of --environment-file"))
	}
	if sets.to == "" || flags.NArg() > 0 {
		return vault.Location{}, nil, usageError(hint.Wrap(fmt.Errorf("refit backup save %s: it does not save to a store", strings.Join(flags.Args(), " ")), "say --to STORE"))
	}
	if _, err := sets.write.to(); err != nil {
		return vault.Location{}, nil, err
	}
	for _, file := range append(append([]string{sets.write.signKey, sets.metricsFile, sets.scratch}, sets.write.files...), sets.read.identities...) {
		if file != "" && !filepath.IsAbs(file) {
			return vault.Location{}, nil, usageError(fmt.Errorf("%s: want an absolute path: nobody knows the directory in which it will run", file))
		}
	}
	signer, err := sets.write.signer()
	if err != nil {
		return vault.Location{}, nil, err
	}
	where, err := vault.ParseStore(sets.to)
	return where, signer.Verifier(), usageError(err)
}

// installUnits writes the units and starts the timer.
func (a *app) installUnits(ctx context.Context, f *scheduleFlags, units []timer.Unit) error {
	m := host.Here(nil)
	for _, u := range units {
		path := filepath.Join(f.unitDir, u.Name)
		old, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(old), timer.Mark) {
			return usageError(hint.Wrap(fmt.Errorf("%s is there, and refit has not written it", path), "call the units otherwise with --name"))
		}
		if err := m.WriteFile(ctx, path, []byte(u.Text), 0o644); err != nil {
			return fmt.Errorf("install the timer: %w", err)
		}
		a.say("wrote " + report.Printable(path))
	}
	for _, argv := range [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "enable", "--now", f.Name + ".timer"}} {
		if err := host.Succeed(m.Exec(ctx, argv, host.ExecOptions{})); err != nil {
			return hint.Wrap(fmt.Errorf("start the timer: %s: %w", strings.Join(argv, " "), err), "the units are written; see that systemd runs here")
		}
	}
	a.say("started " + f.Name + ".timer; systemctl list-timers " + f.Name + ".timer tells when it is due")
	return nil
}

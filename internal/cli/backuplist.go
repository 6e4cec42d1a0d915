// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
)

func newBackupListCommand(a *app) *cobra.Command {
	var store storeFlags
	var trust trustFlags
	cmd := &cobra.Command{
		Use:   "list STORE",
		Short: "List the backup sets of a store",
		Long: "List the backup sets of a store, the newest last, as far as that can be told without a key: the\n" +
			"parts of each set are there and as long as its manifest says, and so are those of the full that a\n" +
			"delta needs. The exit code is 1 if that is not so of a set, and PROBLEM says what is wrong with it.",
		Example: "  refit backup list s3://backups/prod?region=eu-central-1\n\n" +
			"  # When was the last one proven?\n" +
			"  refit backup list file:///backup/prod -o json | jq -r '.[-1].proof.proven'",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := vault.ParseStore(args[0])
			if err != nil {
				return usageError(err)
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
			sets, err := s.List(cmd.Context(), by)
			if err != nil {
				return setError(cmd.Context(), err)
			}
			bad := 0
			for _, e := range sets {
				if e.Problem != "" {
					bad++
				}
			}
			if a.output != "text" {
				err = report.WriteData(a.Out, a.output, sets)
			} else {
				err = writeSets(a.Out, sets)
			}
			if err == nil && bad > 0 {
				err = fmt.Errorf("%s of %d cannot be relied upon", phrase.Count(bad, "set"), len(sets))
			}
			return err
		},
	}
	store.add(cmd.Flags())
	trust.add(cmd.Flags())
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func writeSets(w io.Writer, sets []vault.Entry) error {
	if len(sets) == 0 {
		_, err := fmt.Fprintln(w, "there are no sets")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tKIND\tREVISION\tKEYS\tSIZE\tSTORED\tPROVEN\tPROBLEM")
	for _, e := range sets {
		if e.Manifest == nil {
			fmt.Fprintf(t, "%s\t\t\t\t\t\t\t%s\n", e.Name, oneLine(e.Problem))
			continue
		}
		proven := "never"
		switch {
		case e.Proof != nil:
			proven = e.Proof.Proven.Format(time.DateOnly + " 15:04Z")
		case e.Unbelieved:
			proven = "not by that key"
		}
		m := e.Manifest
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", m.Name, m.Kind(), m.Snapshot.Revision, m.Snapshot.Keys, size(m.Snapshot.Bytes), size(m.Stored()), proven, oneLine(e.Problem))
	}
	return t.Flush()
}

func newBackupFetchCommand(a *app) *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "fetch SET DIRECTORY",
		Short: "Fetch and decrypt a backup set into a directory",
		Long: "Fetch a set (STORE/NAME, or STORE/latest), compare it with its manifest, decrypt it, and put it into\n" +
			"a directory that is not there yet: snapshot.db is what etcdutl and refit restore read, and below\n" +
			"files/ are those of the machine, by their paths. Only you can read them: the private keys of the\n" +
			"cluster are among them.",
		Example: "  refit backup fetch s3://backups/prod/latest?region=eu-central-1 here --identity key.txt",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r, name, err := f.reader(cmd.Context(), args[0], "")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Store.Close()) }()
			m, err := r.Fetch(cmd.Context(), name, args[1])
			if err != nil {
				return setError(cmd.Context(), err)
			}
			a.say(fmt.Sprintf("fetched set %s into %s: snapshot.db, and %s in files", m.Name, report.Printable(args[1]), phrase.Count(len(m.Files), "file")))
			return nil
		},
	}
	f.add(cmd.Flags())
	return cmd
}

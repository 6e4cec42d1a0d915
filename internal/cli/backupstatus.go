// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"refit.dev/refit/etcd"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
)

func newBackupStatusCommand(a *app) *cobra.Command {
	var read readFlags
	cmd := &cobra.Command{
		Use:   "status FILE | SET",
		Short: "Tell what is in a snapshot of etcd, or in a backup set",
		Long: "Tell what is in the file of a snapshot, after its SHA-256 was compared and bbolt has checked it.\n" +
			"The first line is that of `etcdutl snapshot status`: hash, revision, keys, size and storage\n" +
			"version; with -o json the fields have its names, too. A copy of a database that has no SHA-256 can\n" +
			"be looked at as well. The exit code is 1 if the file is damaged.\n\n" +
			"Of a set (STORE/NAME, or STORE/latest) its manifest is told, which takes no key, and when it was\n" +
			"last proven; the parts of the set are there and as long as they should be.",
		Example: "  refit backup status snapshot.db\n\n" +
			"  # How many Secrets are in it?\n" +
			"  refit backup status snapshot.db -o json | jq '.resources[] | select(.name == \"secrets\") | .objects'\n\n" +
			"  # The newest set\n" +
			"  refit backup status file:///backup/prod/latest",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if vault.IsURL(args[0]) {
				return a.statusOfSet(cmd.Context(), &read, args[0])
			}
			w, err := worker()
			if err != nil {
				return err
			}
			status, err := w.Status(cmd.Context(), args[0])
			if err != nil {
				return backupError(cmd.Context(), err)
			}
			if a.output != "text" {
				return report.WriteData(a.Out, a.output, status)
			}
			return writeSnapshotStatus(a.Out, status)
		},
	}
	read.storeFlags.add(cmd.Flags())
	read.trustFlags.add(cmd.Flags())
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

// writeSnapshotStatus writes what is in a snapshot for people.
func writeSnapshotStatus(w io.Writer, s *etcd.Status) error {
	fmt.Fprintf(w, "%x, %d, %d, %s, %s\n\n", s.Hash, s.Revision, s.TotalKeys, size(s.TotalSize), report.Printable(s.Version))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	sum := s.SHA256
	if sum == "" {
		sum = "none: a copy of a database, which nothing proves whole"
	}
	fmt.Fprintf(t, "SHA-256\t%s\n", sum)
	fmt.Fprintf(t, "keys\t%d, %d of them objects of Kubernetes\n", s.Keys, s.Objects())
	history := "nothing compacted"
	if s.CompactRevision >= 0 {
		history = fmt.Sprintf("compacted up to revision %d", s.CompactRevision)
	}
	fmt.Fprintf(t, "history\t%s\n", history)
	fmt.Fprintf(t, "HashKV\t%d\n", s.HashKV)
	fmt.Fprintf(t, "leases\t%d\n", s.Leases)
	fmt.Fprintf(t, "alarms\t%s\n", listOr("none", s.Alarms, func(x etcd.Alarm) string { return x.Alarm + " of " + x.Member }))
	fmt.Fprintf(t, "members\t%s\n", listOr("none", s.Members, func(m etcd.Member) string {
		learner := ""
		if m.Learner {
			learner = ", a learner"
		}
		return fmt.Sprintf("%s (%s%s)", m.Name, m.ID, learner)
	}))
	if err := t.Flush(); err != nil {
		return err
	}
	return writeResources(w, s.Resources)
}

// writeResources writes how much there is of each resource.
func writeResources(w io.Writer, resources []etcd.Resource) error {
	if len(resources) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GROUP\tRESOURCE\tOBJECTS\tSIZE\tENCRYPTED")
	for _, r := range resources {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\n", oneLine(r.Group), oneLine(r.Name), r.Objects, size(r.Bytes), r.Encrypted)
	}
	return t.Flush()
}

// listOr joins what each element is called.
func listOr[T any](nothing string, list []T, name func(T) string) string {
	if len(list) == 0 {
		return nothing
	}
	var names []string
	for _, x := range list {
		names = append(names, oneLine(name(x)))
	}
	return strings.Join(names, ", ")
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/report"
)

func newBackupSaveCommand(a *app) *cobra.Command {
	var reach etcdFlags
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Save a snapshot of etcd to a file",
		Long: "Save a snapshot of etcd to a file, which must not be there. It is written aside, hashed while it\n" +
			"comes, compared with the SHA-256 that etcd sends at the end, synced, and renamed: a file of that\n" +
			"name is whole. Only you can read it, since it holds every Secret of the cluster.\n\n" +
			"It comes from a member that is no learner, sees a leader, has no alarm CORRUPT and has caught up,\n" +
			"and from a follower rather than from the leader.\n\n" +
			"Where etcd is, and the certificates for it: what the flags of etcdctl or its variables (ETCDCTL_*)\n" +
			"say; else, on a machine of the control plane, what the manifest of the API server says\n" +
			"(/etc/kubernetes/manifests/kube-apiserver.yaml); else what it says on the first machine of the control\n" +
			"plane that can be reached over SSH, through which refit then talks to etcd.",
		Example: "  # From your own machine, over SSH, or on a control plane\n" +
			"  refit backup save etcd-$(date +%F).db\n\n" +
			"  # From a member that you name\n" +
			"  refit backup save snapshot.db --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backupSave(cmd.Context(), &reach, args[0])
		},
	}
	reach.add(cmd.Flags())
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func (a *app) backupSave(ctx context.Context, reach *etcdFlags, file string) error {
	access, closing, err := a.etcd(ctx, reach)
	if err != nil {
		return backupError(ctx, err)
	}
	defer closing()
	w, err := worker()
	if err != nil {
		return err
	}
	saver := etcd.Saver{Access: access, Worker: w, Clock: clock.RealClock{}, Progress: a.savedSoFar()}
	saved, err := saver.Save(ctx, file)
	if err != nil {
		return backupError(ctx, err)
	}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, saved)
	}
	return writeSaved(a.Out, saved)
}

// progressStep is after how many bytes more progress is told.
const progressStep = 256 << 20

// savedSoFar tells how far a snapshot has come.
func (a *app) savedSoFar() func(done, about int64) {
	next := int64(progressStep)
	return func(done, about int64) {
		if done >= next {
			next = done + progressStep
			a.say(fmt.Sprintf("saved %s of about %s", size(done), size(about)))
		}
	}
}

func writeSaved(w io.Writer, s *etcd.Saved) error {
	_, err := fmt.Fprintf(w, "saved %s: %s at revision %d, from member %s (%s, etcd %s) in %s\nSHA-256 %s\n",
		report.Printable(s.File), size(s.Bytes), s.Revision, report.Printable(s.Member), report.Printable(s.Endpoint), report.Printable(s.Version),
		s.Took.Round(10*time.Millisecond), s.SHA256)
	return err
}

// size writes bytes as etcd's tools do.
func size(bytes int64) string { return humanize.Bytes(uint64(max(0, bytes))) } //nolint:gosec // not below 0

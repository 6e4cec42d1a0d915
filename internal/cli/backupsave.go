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
	var sets setFlags
	cmd := &cobra.Command{
		Use:   "save FILE | --to STORE",
		Short: "Save etcd to a file, or a whole backup set to a store",
		Long: "Save a snapshot of etcd to a file, which must not be there. It is written aside, hashed while it\n" +
			"comes, compared with the SHA-256 that etcd sends at the end, synced, and renamed: a file of that\n" +
			"name is whole. Only you can read it, since it holds every Secret of the cluster.\n\n" +
			"With --to, save a set to a store: the snapshot, and what a restore onto an empty machine needs\n" +
			"besides it (keys, encryption configuration, manifests, configuration of kubeadm and kubelets),\n" +
			"compressed, encrypted to the recipients, and listed only when all of it is there. Of most sets only\n" +
			"what is not in the last full is stored. A store is a directory (file:///DIRECTORY) or a bucket:\n" +
			"s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX; an S3 that is not Amazon's\n" +
			"takes ?endpoint=https://HOST&region=REGION&use_path_style=true. Credentials are where the store's\n" +
			"own tools look for them. A store holds the sets of one cluster.\n\n" +
			"The snapshot comes from a member that is no learner, sees a leader, has no alarm CORRUPT and has\n" +
			"caught up, and from a follower rather than from the leader.\n\n" +
			"Where etcd is, and the certificates for it: what the flags of etcdctl or its variables (ETCDCTL_*)\n" +
			"say; else, on a machine of the control plane, what the manifest of the API server says\n" +
			"(/etc/kubernetes/manifests/kube-apiserver.yaml); else what it says on the first machine of the control\n" +
			"plane that can be reached over SSH, through which refit then talks to etcd.",
		Example: "  # From your own machine, over SSH, or on a control plane\n" +
			"  refit backup save etcd-$(date +%F).db\n\n" +
			"  # From a member that you name\n" +
			"  refit backup save snapshot.db --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key\n\n" +
			"  # A set, encrypted, and proven at once\n" +
			"  refit backup save --to s3://backups/prod?region=eu-central-1 --recipients-file admins.txt --verify --identity key.txt",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := sets.check(cmd.Flags(), args); err != nil {
				return usageError(err)
			}
			if sets.to != "" {
				return a.saveSet(cmd.Context(), &reach, &sets)
			}
			return a.backupSave(cmd.Context(), &reach, args[0], &sets)
		},
	}
	sets.add(cmd.Flags())
	reach.add(cmd.Flags())
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

// savedFile is what is told of a file that was saved.
type savedFile struct {
	*etcd.Saved
	Proof *etcd.Proof `json:"proof,omitempty"`
}

func (a *app) backupSave(ctx context.Context, reach *etcdFlags, file string, f *setFlags) error {
	reached, err := a.etcd(ctx, reach)
	if err != nil {
		return backupError(ctx, err)
	}
	defer reached.close()
	w, err := worker()
	if err != nil {
		return err
	}
	saver := etcd.Saver{Access: reached.Access, Worker: w, Clock: clock.RealClock{}, Progress: a.savedSoFar()}
	saved := savedFile{}
	if saved.Saved, err = saver.Save(ctx, file); err != nil {
		return backupError(ctx, err)
	}
	if f.verify {
		if saved.Proof, err = w.Verify(ctx, file, f.scratch); err != nil {
			return backupError(ctx, err)
		}
	}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, saved)
	}
	if err := writeSaved(a.Out, saved.Saved); err != nil || saved.Proof == nil {
		return err
	}
	return writeProof(a.Out, file, saved.Proof)
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

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/vault"
)

// verifyFlags are those of backup verify.
type verifyFlags struct {
	scratch     string
	read        readFlags
	write       writeFlags
	metricsFile string
	bootAPI     bool
}

func newBackupVerifyCommand(a *app) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE | SET",
		Short: "Prove that a snapshot of etcd, or a backup set, can be restored",
		Long: "Prove that a snapshot can be restored: its SHA-256 is compared, bbolt checks the database, every\n" +
			"object of Kubernetes is decoded (encrypted ones are counted), and it is restored into a scratch\n" +
			"directory, on which etcd is started; its revision, its number of keys and its hash (HashKV) have to\n" +
			"be those of the file. No cluster is touched, and nobody can reach the etcd that is started.\n\n" +
			"With --boot-api an API server is started on it, too: the one of refit-twin, which lists every\n" +
			"resource that has objects in the snapshot, and has to find as many.\n\n" +
			"A set (STORE/NAME, or STORE/latest) is fetched and decrypted before, and compared with its manifest;\n" +
			"objects that are encrypted at rest are decrypted with the configuration that is in the set. When and\n" +
			"with which figures it was proven is then written down in the store, next to the set; prune never\n" +
			"removes the set that was proven last. With --sign-key that is signed, as prune, list and status want\n" +
			"it with --verify-key; a signed one is not replaced by one that is not.\n\n" +
			"It takes as much free disk as the file has bytes, and 128 MiB; for a set twice that, for a delta\n" +
			"three times.",
		Example: "  refit backup verify snapshot.db\n\n" +
			"  # The system's directory for temporary files is too small\n" +
			"  refit backup verify snapshot.db --scratch-dir /var/tmp\n\n" +
			"  # The newest set\n" +
			"  refit backup verify file:///backup/prod/latest --identity key.txt",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if vault.IsURL(args[0]) {
				return a.verifySet(cmd.Context(), &f, args[0])
			}
			w, err := worker()
			if err != nil {
				return err
			}
			proof, err := w.Verify(cmd.Context(), args[0], f.scratch)
			if err != nil {
				return backupError(cmd.Context(), err)
			}
			if f.bootAPI {
				if proof.Served, err = restore.Serve(cmd.Context(), clock.RealClock{}, w, args[0], f.scratch, proof.Status); err != nil {
					return backupError(cmd.Context(), err)
				}
			}
			a.noteProof(args[0], proof, time.Now())
			if a.output != "text" {
				return report.WriteData(a.Out, a.output, proof)
			}
			return writeProof(a.Out, args[0], proof)
		},
	}
	f.read.add(cmd.Flags())
	f.write.addSignKey(cmd.Flags())
	cmd.Flags().StringVar(&f.metricsFile, "metrics-file", "", "write when the last set was saved and proven to this file, for the textfile collector of node_exporter")
	cmd.Flags().StringVar(&f.scratch, "scratch-dir", "", "restore into a new directory in this one (default the system's for temporary files)")
	cmd.Flags().BoolVar(&f.bootAPI, "boot-api", false, "start the API server of refit-twin on it, too, and list every resource")
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

func writeProof(w io.Writer, file string, p *etcd.Proof) error {
	_, err := fmt.Fprintf(w, "%s is proven\n\n"+
		"  whole      SHA-256 %s; bbolt finds nothing wrong\n"+
		"  decoded    %d objects; %d are encrypted, %d of types that this refit does not know\n"+
		"  restored   etcd %s serves it: revision %d, %d keys, HashKV %d, as in the file\n",
		report.Printable(file), p.Status.SHA256, p.Decoded, p.Encrypted, p.Unknown, report.Printable(p.Etcd), p.Revision, p.Keys, p.HashKV)
	if err == nil {
		err = writeServed(w, p.Served)
	}
	return err
}

// writeServed tells what an API server has listed, if one was started.
func writeServed(w io.Writer, s *etcd.Served) error {
	if s == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "  served     Kubernetes %s lists %s of %s; %d are encrypted\n",
		report.Printable(s.Kubernetes), phrase.Count(s.Objects, "object"), phrase.Count(s.Resources, "resource"), s.Encrypted)
	return err
}

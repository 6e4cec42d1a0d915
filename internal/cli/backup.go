// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"refit.dev/refit/etcd"
)

func newBackupCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Save etcd, and prove that what was saved can be restored",
		Long: "Save snapshots of etcd, tell what is in them, and prove that they can be restored. Files are those\n" +
			"of etcdctl and etcdutl: either reads what the other wrote. Or keep backup sets in a store: a snapshot\n" +
			"with what else a restore needs, compressed and encrypted.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBackupSaveCommand(a), newBackupListCommand(a), newBackupStatusCommand(a), newBackupVerifyCommand(a),
		newBackupFetchCommand(a), newBackupPruneCommand(a), newBackupScheduleCommand(a), newBackupWorkerCommand(a))
	return cmd
}

// workerName is the hidden command that refit runs as a process of its own.
const workerName = "worker"

// newBackupWorkerCommand makes the command that reads files which may be damaged.
func newBackupWorkerCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: workerName, Hidden: true, Args: usageArgs(cobra.NoArgs),
		Short:   "Do what refit itself asks for, with a snapshot",
		Example: "  refit backup " + workerName + " < request.json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return etcd.Work(cmd.Context(), a.In, a.Out) },
	}
}

// worker runs this same program.
func worker() (etcd.Worker, error) {
	self, err := os.Executable()
	if err != nil {
		return etcd.Worker{}, fmt.Errorf("find this program, to run it as a process that reads snapshots: %w", err)
	}
	return etcd.Worker{Argv: []string{self, "backup", workerName}}, nil
}

// backupError gives an error of package etcd its exit code.
func backupError(ctx context.Context, err error) error {
	_, path := errors.AsType[*fs.PathError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return exitWith(exitUnfinished, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT): // whatever file it says that of
		return err
	case path && !errors.Is(err, etcd.ErrDamaged), errors.Is(err, fs.ErrExist), errors.Is(err, etcd.ErrNotFile):
		return usageError(err)
	}
	return err
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/proven"
	"refit.dev/refit/report"
)

// noteProof remembers for the plans of upgrades that a file was proven. That it cannot be
// noted is said, and makes the proof no worse.
func (a *app) noteProof(file string, proof *etcd.Proof, now time.Time) {
	err := func() error {
		store, err := proven.DefaultStore()
		if err != nil {
			return err
		}
		place, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return fmt.Errorf("note that a backup was proven: %w", err)
		}
		s := proof.Status
		return store.Note(proven.Record{
			Cluster: s.ClusterUID, Place: place, Saved: info.ModTime().UTC(), Proven: now.UTC(), Revision: s.Revision, SHA256: s.SHA256,
		})
	}()
	if err != nil {
		a.say("warning: " + report.Printable(err.Error()))
	}
}

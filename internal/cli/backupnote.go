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
	"refit.dev/refit/vault"
)

// noteProof remembers for the plans of upgrades that a file was proven.
func (a *app) noteProof(file string, proof *etcd.Proof, now time.Time) {
	place, err := filepath.Abs(file)
	if err != nil {
		a.unnoted(fmt.Errorf("note that a backup was proven: %w", err))
		return
	}
	info, err := os.Stat(file)
	if err != nil {
		a.unnoted(fmt.Errorf("note that a backup was proven: %w", err))
		return
	}
	s := proof.Status
	a.note(proven.Record{
		Cluster: s.ClusterUID, Place: place, Saved: info.ModTime().UTC(), Proven: now.UTC(), Revision: s.Revision, SHA256: s.SHA256,
	})
}

// noteSet remembers it of a set.
func (a *app) noteSet(place string, m *vault.Manifest, proof *vault.Proof) {
	a.note(proven.Record{
		Cluster: m.Cluster.UID, Place: place, Saved: m.Created, Proven: proof.Proven, Revision: m.Snapshot.Revision, SHA256: m.Snapshot.SHA256,
	})
}

func (a *app) note(r proven.Record) {
	store, err := proven.DefaultStore()
	if err == nil {
		err = store.Note(r)
	}
	if err != nil {
		a.unnoted(err)
	}
}

// unnoted says that a proof could not be noted, which makes it no worse.
func (a *app) unnoted(err error) {
	a.say("warning: " + report.Printable(err.Error()))
}

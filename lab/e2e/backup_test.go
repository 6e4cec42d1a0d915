// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// snapshotOf wants etcdutl to take a file for a snapshot that has something in it.
func snapshotOf(t *testing.T, file string) {
	t.Helper()
	s, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil || s.Revision < 1 || s.TotalKey < 1 {
		t.Errorf("etcdutl says of %s: %+v, %v", file, s, err)
	}
}

// wantOneBackup wants one snapshot of an upgrade in the operator's state directory, which is
// whole, for nobody else to read, and nothing beside it.
func (o operator) wantOneBackup(t *testing.T) {
	t.Helper()
	dir := o.backups()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), "etcd-") {
		t.Fatalf("in %s: %v, %v", dir, entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	snapshotOf(t, filepath.Join(dir, entries[0].Name()))
}

// backups is where upgrades save etcd if nothing else is said.
func (o operator) backups() string { return filepath.Join(o.state, "backups") }

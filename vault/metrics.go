// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"
	"strings"
)

// WriteMetrics writes what node_exporter's textfile collector reads (OpenMetrics' older
// text format): when the newest set was taken, when the last proof was made, how large the newest is. The times are
// those in the store, so that whichever machine writes them, they are the same. The file is
// written aside and renamed; others may read it.
func (s *Store) WriteMetrics(ctx context.Context, file string) error {
	sets, err := s.List(ctx, nil)
	if err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	if err := writeAside(file, metrics(sets), 0o644); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}

func metrics(sets []Entry) []byte {
	var saved, proven, bytes, revision, good, problems int64
	for _, e := range sets {
		if e.Problem != "" {
			problems++
			continue
		}
		good++
		if at := e.Manifest.Created.Unix(); at >= saved {
			saved, bytes, revision = at, e.Manifest.Stored(), e.Manifest.Snapshot.Revision
		}
		if e.Proof != nil {
			proven = max(proven, e.Proof.Proven.Unix())
		}
	}
	var out strings.Builder
	for _, m := range []struct {
		name, help string
		value      int64
	}{
		{"refit_backup_last_success_timestamp_seconds", "When the newest backup set was begun, 0 if there is none.", saved},
		{"refit_backup_last_proven_timestamp_seconds", "When a backup set was last restored and compared, 0 if none was.", proven},
		{"refit_backup_last_size_bytes", "How much the newest backup set takes in the store.", bytes},
		{"refit_backup_last_revision", "The revision of etcd in the newest backup set.", revision},
		{"refit_backup_sets", "How many backup sets there are that nothing is known to be wrong with.", good},
		{"refit_backup_damaged_sets", "How many backup sets are known not to be restorable.", problems},
	} {
		fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s gauge\n%s %d\n", m.name, m.help, m.name, m.name, m.value)
	}
	return []byte(out.String())
}

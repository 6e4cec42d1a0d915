// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// Backup is the last backup of the cluster that was proven, as far as the operator's machine knows.
type Backup struct {
	// Place is where it was: a file, or the URL of a set; "" if none is known.
	Place string
	// Saved is when it was written.
	Saved time.Time
}

// checkBackup says how old the last proven backup is, and that one is taken first.
func (d *decision) checkBackup() {
	if len(d.plan.Hops) == 0 || d.Method == Managed {
		return
	}
	d.plan.Backup = !d.intent.NoBackup
	b := d.State.Backup
	switch {
	case b == nil: // nobody has looked
	case b.Place != "":
		d.add(BackupKnown, self(), "the last backup that was proven from here is %s old: %s", age(d.Snapshot.Time.Sub(b.Saved)), b.Place)
	case d.intent.NoBackup:
		d.add(BackupNone, self(), "no backup was proven from here, and none is taken")
	default:
		d.plan.Findings = append(d.plan.Findings, cluster.Finding{
			Severity: cluster.Info, Code: BackupNone, Object: self(), Message: "no backup was proven from here: one is taken and proven first",
		})
	}
}

// age is a duration in the largest unit of which there are two.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return phrase.Count(int(max(0, d).Seconds()), "second")
	case d < 2*time.Hour:
		return phrase.Count(int(d.Minutes()), "minute")
	case d < 2*day:
		return phrase.Count(int(d.Hours()), "hour")
	}
	return phrase.Count(int(d/day), "day")
}

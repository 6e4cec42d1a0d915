// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
)

// Options are the flags of kubectl drain, with their meaning there, and what a
// caller may replace. The zero value refuses DaemonSet pods, as kubectl does;
// DefaultOptions leaves them alone.
type Options struct {
	// Force evicts pods that no controller would replace.
	Force bool
	// IgnoreDaemonSets leaves DaemonSet pods alone instead of refusing the node.
	IgnoreDaemonSets bool
	// DeleteEmptyDirData evicts pods although that deletes the data in their emptyDirs.
	DeleteEmptyDirData bool
	// DisableEviction deletes pods, which passes by their budgets and their quorums.
	DisableEviction bool
	// GracePeriod is what each pod gets to terminate, in seconds; nil is what the pod says.
	GracePeriod *int64
	// ConfirmNodeIsOff says that somebody has made sure that the machines of lost
	// nodes are off: they may be tainted as out of service. That is of no use together
	// with a PodSelector, because the taint takes all pods away: no node is then drained.
	ConfirmNodeIsOff bool
	// WaitForReturn waits, once a node is drained that was declared out of service, until
	// it is Ready again, however long that takes, and takes it back into service.
	WaitForReturn bool
	// PodSelector restricts the drain to pods that match; nil matches all.
	PodSelector labels.Selector
	// SkipWaitForDelete leaves out pods that were deleted longer ago than this
	// and are still there; 0 waits for them.
	SkipWaitForDelete time.Duration
	// Timeout is how long one node may take; 0 is no limit.
	Timeout time.Duration
	// DryRun looks or asks only.
	DryRun DryRun

	// Run is the id that goes into every event; it may be empty.
	Run string
	// Evictor takes pods away; nil is NewEvictor, or NewDeleter with DisableEviction.
	Evictor Evictor
	// Clock is what time is told by; nil is the machine's.
	Clock clock.WithTicker
}

// DefaultOptions are what `refit drain` does without flags.
func DefaultOptions() Options { return Options{IgnoreDaemonSets: true} }

// DryRun says how much of a drain really happens.
type DryRun string

const (
	// DryRunNone is the real thing.
	DryRunNone DryRun = ""
	// DryRunClient sends nothing: it tells what would be asked for.
	DryRunClient DryRun = "client"
	// DryRunServer asks the API server about every pod, which checks permissions,
	// webhooks and budgets as they are now, and does nothing.
	DryRunServer DryRun = "server"
)

// ParseDryRun takes the values of kubectl's --dry-run.
func ParseDryRun(s string) (DryRun, error) {
	switch s {
	case "none", "":
		return DryRunNone, nil
	case "client":
		return DryRunClient, nil
	case "server":
		return DryRunServer, nil
	}
	return DryRunNone, fmt.Errorf("dry-run %q: want none, client or server", s)
}

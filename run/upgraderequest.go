// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/provider"
)

// UpgradeRequest asks for an upgrade. Its stages name the nodes.
type UpgradeRequest struct {
	Upgrade               Upgrade
	Access                inventory.Access
	MaxUnavailable        Share
	MaxUnavailablePerZone int
	Soak                  time.Duration
	MaxMoves              float64
	SurgeSingletons       bool
	Drain                 Drain
	Timeouts              Timeouts
	// BackupDir is the directory for the backup that is taken first, an absolute path; "" takes none.
	BackupDir string
	// Probes are Services that are asked all through the upgrade: NAMESPACE/NAME[:PORT].
	Probes []string
}

// PrepareUpgrade is Prepare for an upgrade: it looks whether the nodes can be drained,
// and leaves to others whether their machines can be upgraded.
func (o *Operator) PrepareUpgrade(ctx context.Context, r UpgradeRequest) (*Prepared, error) {
	if r.SurgeSingletons && r.Drain.DisableEviction {
		return nil, badInput("--surge-singletons and --disable-eviction exclude each other")
	}
	probes, err := o.findServices(ctx, r.Probes)
	if err != nil {
		return nil, err
	}
	r.Upgrade.Probes = probes
	var machines []provider.Machine
	if r.Upgrade.Replace != nil {
		if machines, err = o.replaceable(ctx, r.Upgrade.Replace); err != nil {
			return nil, err
		}
	}
	p, err := o.opened(ctx, func(watching context.Context) (*Prepared, error) {
		return o.prepareSpec(ctx, watching, r.specWith(machines))
	})
	return p.unblocked(err)
}

// specWith makes what makes the Spec of the run. machines are what the provider lists, if
// workers are replaced.
func (r UpgradeRequest) specWith(machines []provider.Machine) func(*cluster.Snapshot, Identity, time.Time) (*Spec, error) {
	return func(s *cluster.Snapshot, id Identity, now time.Time) (*Spec, error) {
		if r.Upgrade.Replace != nil {
			replace, err := r.Upgrade.replaces(s, machines)
			if err != nil {
				return nil, err
			}
			r.Upgrade.Replace, r.MaxUnavailable = replace, ShareOf(replace.Surge)
		}
		return r.spec(s, id, now)
	}
}

// spec makes the Spec of the run.
func (r UpgradeRequest) spec(s *cluster.Snapshot, id Identity, now time.Time) (*Spec, error) {
	spec := &Spec{
		Run: NewID(now), Created: now.UTC(), Cluster: id, Upgrade: &r.Upgrade, Access: &r.Access,
		MaxUnavailable: r.MaxUnavailable, MaxUnavailablePerZone: r.MaxUnavailablePerZone, Soak: metav1.Duration{Duration: r.Soak},
		MaxMoves: r.MaxMoves, SurgeSingletons: r.SurgeSingletons, Drain: r.Drain, Timeouts: r.Timeouts,
	}
	spec.fill()
	if r.BackupDir != "" {
		spec.Upgrade.Backup = &Backup{File: filepath.Join(r.BackupDir, "etcd-"+spec.Run+".db")}
	}
	var names, unknown []string
	for _, stage := range r.Upgrade.Stages {
		names = append(names, stage.Nodes...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		node := s.Node(name)
		if node == nil {
			unknown = append(unknown, name)
			continue
		}
		spec.Nodes = append(spec.Nodes, Target{Name: name, UID: node.UID, Unschedulable: node.Spec.Unschedulable})
	}
	if len(unknown) > 0 {
		return nil, hint.Wrap(badInput("nodes of the plan are not in the cluster: %s", strings.Join(unknown, ", ")), "make a new plan; nothing was changed")
	}
	if err := spec.validate(); err != nil {
		return nil, &InputError{err}
	}
	return spec, nil
}

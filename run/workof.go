// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"net"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/host"
	"refit.dev/refit/provider"
	"refit.dev/refit/release"
)

// workOf is what the run does to machines, and what gives up the way to them.
func (o *Operator) workOf(spec *Spec) (w work, closing func(), err error) {
	if spec.Upgrade == nil {
		hosts, closing, err := o.hosts(spec)
		return maintenance{hosts: hosts}, closing, err
	}
	machines, err := spec.machines()
	if err != nil {
		return nil, nil, &InputError{err}
	}
	// Hooks run where refit does.
	local := func(node *corev1.Node) host.Host { return host.Of(o.Client, node, spec.Run) }
	var makes provider.Provider
	var plane provider.ControlPlane
	if spec.Upgrade.Replace != nil {
		own := o.providerOf(spec)
		makes, plane = own, own
	}
	return upgrading{
		plane: plane, version: o.version,
		provider: makes, roster: apiRoster{client: o.Client, clock: o.Clock},
		machines: o.machinesOf(spec, machines.Machine), local: local, ask: o.Ask, recorded: o.recordedVersion, backup: o.backups(spec, machines),
		dial: func(ctx context.Context, node *corev1.Node, address string) (net.Conn, error) {
			m, err := machines.Machine(node, spec.Run)
			if err != nil {
				return nil, err
			}
			return m.Dial(ctx, address)
		},
	}, func() { _ = machines.Close() }, nil
}

// machinesOf is how the machines of a run are brought to a version, by its method.
func (o *Operator) machinesOf(spec *Spec, reach func(*corev1.Node, string) (host.Machine, error)) Machines {
	if u := spec.Upgrade.Units; u != nil {
		return &UnitFleet{Reach: reach, Clock: o.Clock, Source: sync.OnceValues(func() (*release.Source, error) { return release.OpenCached(u.Source) })}
	}
	return &Fleet{Reach: reach, Clock: o.Clock}
}

// providerOf is who makes and removes the machines of a run.
func (o *Operator) providerOf(spec *Spec) *provider.Exec {
	return &provider.Exec{
		Config: spec.Upgrade.Replace.Provider, Clock: o.Clock,
		Dir: filepath.Join(o.Store.Dir(spec.Run), "provider"), Plane: o.Store.planeLock(spec.Cluster),
	}
}

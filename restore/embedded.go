// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
)

// embedded is the control plane of a twin. Its supervisor ends all components at once, and
// can run etcd alone: so here, too, nothing asks etcd before it was looked at.
type embedded struct{ t *twin.Twin }

// embeddedMember describes the only member of a twin.
func embeddedMember(t *twin.Twin, node string) (run.Member, error) {
	e, err := t.Etcd()
	if err != nil {
		return run.Member{}, err
	}
	return run.Member{
		Node: node, Method: run.Embedded, File: t.Dir(), Name: e.Name, PeerURLs: []string{e.PeerURL}, ClientURLs: []string{e.ClientURL}, DataDir: e.DataDir, APIServer: true,
	}, nil
}

func (e embedded) stop(ctx context.Context, _ string) error { return e.t.Halt(ctx) }
func (e embedded) end(ctx context.Context, _ string) error  { return e.t.Halt(ctx) }

func (e embedded) start(ctx context.Context, component string) error {
	if component == etcdName {
		return e.t.StartEtcd(ctx)
	}
	return e.t.Start(ctx)
}

func (e embedded) running(context.Context) (map[string]bool, error) { return e.t.Running() }

func (e embedded) has(context.Context, string) (bool, error) { return true, nil }

// restartKubelet does nothing: the simulated ones were ended with the rest.
func (e embedded) restartKubelet(context.Context) error { return nil }

func (e embedded) kubeletRuns(context.Context) (bool, error) { return false, nil }
func (e embedded) resumeKubelet(context.Context) error       { return nil }

// stopKubelet and startKubelet do nothing either.
func (e embedded) stopKubelet(context.Context) error { return nil }

func (e embedded) startKubelet(context.Context) error { return nil }

func (e embedded) reach(context.Context, run.Member) (etcd.Access, error) {
	found, err := e.t.Etcd()
	if err != nil {
		return etcd.Access{}, err
	}
	a := found.Access
	a.Patience = patience
	return a, nil
}

// Here is an Operator's Reach for a twin: this machine, with refit's own rights.
func Here(*corev1.Node, string) (host.Machine, error) { return host.Own(nil), nil }

// adopt renames a directory that was made on this machine and synced, where that is on the
// same file system as it is to be, and tells whether it was.
func adopt(from, to string) (bool, error) {
	err := os.Rename(from, to)
	if errors.Is(err, unix.EXDEV) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, dir := range []string{filepath.Dir(from), filepath.Dir(to)} {
		d, err := os.Open(dir)
		if err != nil {
			return true, err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return true, fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return true, nil
}

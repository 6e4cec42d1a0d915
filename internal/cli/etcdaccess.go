// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
)

// howToName is what to do where etcd is not found.
const howToName = "name etcd with --endpoints, --cacert, --cert and --key"

// controlPlane is what is reached of a control plane.
type controlPlane struct {
	etcd.Access
	// machine is one of its machines, called name; nil if etcd is reached without any.
	machine host.Machine
	name    string
	// close has to be called in the end.
	close func()
}

// etcd finds out how etcd is reached: by the flags, by the twin that the kubeconfig leads to,
// by the manifest on this machine, or by that on a machine of the control plane.
func (a *app) etcd(ctx context.Context, f *etcdFlags) (*controlPlane, error) {
	said, err := f.fromEnvironment(os.Getenv)
	if err != nil {
		return nil, usageError(err)
	}
	reached := &controlPlane{close: func() {}}
	// Whoever may not look into the directory is on a control plane all the same.
	if _, err := os.Stat(etcd.APIServerManifest); !errors.Is(err, fs.ErrNotExist) && f.ssh.given(f.flags) == "" {
		if reached.name, err = os.Hostname(); err != nil {
			return nil, err
		}
		reached.machine = host.Here(nil)
	}
	if said {
		reached.Access, err = f.direct()
		return reached, usageError(err)
	}
	if tw, err := a.ownTwin(); err != nil || tw != nil {
		if err != nil {
			return nil, err
		}
		found, err := tw.Etcd()
		if err != nil {
			return nil, err
		}
		found.Access.Patience = f.patience
		return &controlPlane{Access: found.Access, close: func() {}}, nil
	}
	if reached.machine != nil {
		reached.Access, err = etcd.LocateAll(ctx, reached.machine, f.patience)
		return reached, err
	}
	return a.etcdOverSSH(ctx, f)
}

// etcdOverSSH finds etcd from the first node of the control plane that lets it.
func (a *app) etcdOverSSH(ctx context.Context, f *etcdFlags) (*controlPlane, error) {
	reach, err := f.ssh.access()
	if err != nil {
		return nil, usageError(err)
	}
	_, client, err := a.client()
	if err != nil {
		return nil, hint.Wrap(err, "choose the cluster with --kubeconfig and --context, or %s", howToName)
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: cluster.ControlPlaneLabel})
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("list the nodes of the control plane, to find etcd: %w", err),
			"where the API server does not answer, %s, or run refit on a control plane", howToName)
	}
	if len(nodes.Items) == 0 {
		return nil, hint.Wrap(fmt.Errorf("no node has the label %s, so etcd is not found", cluster.ControlPlaneLabel), howToName)
	}
	machines, err := a.openMachines(*reach)
	if err != nil {
		return nil, err
	}
	closing := func() { _ = machines.Close() } // etcd was talked to, and the file is synced
	var errs []error
	for i := range nodes.Items {
		m, err := machines.Machine(&nodes.Items[i], "")
		if err == nil {
			var access etcd.Access
			if access, err = etcd.LocateAll(ctx, m, f.patience); err == nil {
				a.say("etcd is reached from node " + report.Printable(nodes.Items[i].Name))
				return &controlPlane{access, m, nodes.Items[i].Name, closing}, nil
			}
		}
		errs = append(errs, fmt.Errorf("node %s: %w", nodes.Items[i].Name, err))
	}
	closing()
	return nil, hint.Wrap(fmt.Errorf("find etcd: %w", errors.Join(errs...)), howToName)
}

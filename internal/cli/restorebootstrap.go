// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/vault"
)

// checkBootstrap says what does not go with --bootstrap.
func (f *restoreFlags) checkBootstrap(file string) error {
	switch {
	case !f.bootstrap:
		return nil
	case !vault.IsURL(file):
		return hint.Wrap(errors.New("--bootstrap takes the files of the control plane out of a set, and the snapshot's file has none"), "name a set: STORE/NAME, or STORE/latest")
	case len(f.machines) != 1:
		return hint.Wrap(errors.New("--bootstrap is for one machine: a set has the files of one"), "--machines NAME names it, as the node was called; other control planes join it afterwards")
	case f.dataDir != "" || f.otherCluster || f.broken:
		return errors.New("--data-dir, --other-cluster and --etcd-is-broken are for machines with an etcd: not with --bootstrap")
	}
	return nil
}

// nobodyAnswers sees that there is no cluster any more.
func (a *app) nobodyAnswers(ctx context.Context, o *run.Operator, tw *twin.Twin) error {
	if tw != nil {
		return usageError(fmt.Errorf("the kubeconfig leads to the twin %s: --bootstrap is for machines", tw.Name()))
	}
	limited, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	_, _, err := a.lookAtCluster(limited, o)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil || answered(err) || errors.As(err, new(*run.LockedError)) {
		return hint.Wrap(&run.BlockedError{Err: fmt.Errorf("the API server at %s answers: --bootstrap is for a cluster that is gone", o.Server)}, "refit restore without --bootstrap restores one that is there; nothing was changed")
	}
	return nil
}

// bootstrap asks for the restore of the set onto an empty machine.
func (s *fetched) bootstrap(r restore.Request) restore.BootstrapRequest {
	b := restore.BootstrapRequest{Request: r, Kubelet: s.manifest.Versions.Kubelet, Keep: filepath.Join(filepath.Dir(s.file), "files.json")}
	for _, f := range s.files {
		b.Files = append(b.Files, restore.File{Path: f.Path, Mode: f.Mode, Data: f.Data})
	}
	return b
}

// showBootstrap tells what is about to happen.
func (a *app) showBootstrap(p *restore.Prepared) {
	r := p.Spec.Restore
	m := r.Members[0]
	for _, line := range []string{
		fmt.Sprintf("machine %s becomes the control plane that was lost:", m.Node),
		"  it gets keys, configuration and manifests from the set, and its kubelet a new certificate",
		fmt.Sprintf("  etcd is restored to revision %d of %s in %s, as its only member %s", r.Revision, r.File, m.DataDir, m.Name),
		"  kubelet, etcd and then the API server are started",
		"what was written since the snapshot is lost",
	} {
		a.say(report.Printable(line))
	}
	for _, w := range p.Warnings {
		a.say("warning: " + report.Printable(w))
	}
}

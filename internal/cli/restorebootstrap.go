// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/restore"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/vault"
)

// checkBootstrap says what does not go with --bootstrap.
func (f *restoreFlags) checkBootstrap(file string, yes bool) error {
	switch {
	case !f.bootstrap && f.unsigned:
		return errors.New("--unsigned is for --bootstrap")
	case !f.bootstrap:
		return nil
	case !vault.IsURL(file):
		return hint.Wrap(errors.New("--bootstrap takes the files of the control plane out of a set, and the snapshot's file has none"), "name a set: STORE/NAME, or STORE/latest")
	case f.set.verifyKey != "" && f.unsigned:
		return errors.New("--verify-key and --unsigned exclude each other")
	case f.set.verifyKey == "" && yes && !f.unsigned:
		return hint.Wrap(errors.New("nobody's signature on the set is asked for, and nobody is asked either: whoever may write to the store would decide what runs as root"),
			"--verify-key FILE takes only a set that is signed by that key; --unsigned says that any will do")
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
	if !unreachable(ctx, o.Server, err) {
		return hint.Wrap(&run.BlockedError{Err: fmt.Errorf("somebody answers at %s, where the API server was: --bootstrap is for a cluster that is gone: %w", o.Server, err)},
			"see who that is, and end it if it is not the cluster; nothing was changed")
	}
	return nil
}

// unreachable tells of an error of the API server's client whether nobody is there: no connection comes about, or a
// load balancer that has nobody behind it closes it. Any answer is somebody's.
func unreachable(ctx context.Context, server string, err error) bool {
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.As(err, new(*net.DNSError)), isOp && op.Op == "dial":
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return true
	case !errors.Is(err, context.DeadlineExceeded):
		return false
	}
	u, err := url.Parse(server) // which of both took so long is not said
	if err != nil {
		return false
	}
	port := cmp.Or(u.Port(), "443")
	limited, cancel := context.WithTimeout(ctx, apiPatience/2)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(limited, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return true
	}
	_ = conn.Close()
	return false
}

// bootstrap asks for the restore of the set onto an empty machine.
func (s *fetched) bootstrap(r restore.Request) restore.BootstrapRequest {
	b := restore.BootstrapRequest{Request: r, Kubelet: s.manifest.Versions.Kubelet, Keep: filepath.Join(filepath.Dir(s.file), "files.json")}
	for _, f := range s.files {
		b.Files = append(b.Files, restore.File{Path: f.Path, Mode: f.Mode, Data: f.Data})
	}
	b.Strangers = vault.Strangers(s.files)
	return b
}

// outside are the paths that are not where kubeadm has nearly all.
func outside(paths []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.HasPrefix(p, "/etc/kubernetes/") })
}

// showBootstrap tells what is about to happen.
func (a *app) showBootstrap(p *restore.Prepared) {
	r := p.Spec.Restore
	m := r.Members[0]
	for _, line := range []string{
		fmt.Sprintf("machine %s becomes the control plane that was lost:", m.Node),
		fmt.Sprintf("  it gets %s: keys, configuration, and manifests of what runs as root, from the set; and its kubelet a new certificate", phrase.Count(len(p.Files), "file")),
		"  outside of /etc/kubernetes: " + cmp.Or(phrase.Few(outside(p.Files), 10), "none"),
		fmt.Sprintf("  etcd will be restored to revision %d of %s in %s, as its only member %s", r.Revision, r.Source(), m.DataDir, m.Name),
		"  kubelet, etcd and then the API server are started",
		"what was written since the snapshot is lost",
	} {
		a.say(report.Printable(line))
	}
	for _, w := range p.Warnings {
		a.say("warning: " + report.Printable(w))
	}
}

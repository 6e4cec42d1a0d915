// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
)

// Served is an API server on somebody's data.
type Served struct {
	// Config is that of a client who may do anything.
	Config *rest.Config
	// Version is that of Kubernetes.
	Version string

	twin *Twin
}

// Serve starts an API server of the newest version on a data directory of etcd, and nothing
// beside them: nobody schedules, controls or deletes. lay makes the data directory, which
// is not there yet; the name of its member does not matter. dir is a directory that exists
// and is the caller's; it is not listed among the twins. The processes end with this one at
// the latest.
func Serve(ctx context.Context, dir string, lay func(dataDir string) error) (_ *Served, err error) {
	o, _, err := Options{Tied: true}.complete()
	if err != nil {
		return nil, err
	}
	bin, err := binary()
	if err != nil {
		return nil, err
	}
	t := newTwin(dir, "served")
	for _, sub := range []string{"", "pki", "logs", "audit"} {
		if err := os.MkdirAll(t.path(sub), 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of an API server: %w", err)
		}
	}
	if err := lay(t.path("etcd")); err != nil {
		return nil, err
	}
	now := time.Now()
	if err := writeCertificates(t.path("pki"), now); err != nil {
		return nil, err
	}
	s := &Served{Version: releaseOf(o.Kubernetes).Kubelet, twin: t}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.End(ctx))
		}
	}()
	p, err := t.start(ctx, bin, o, ports{}, []string{"etcd", "kube-apiserver"})
	if err != nil {
		return nil, fmt.Errorf("start an API server on %s: %w", filepath.Base(dir), err)
	}
	s.Config, err = t.bootstrapConfig(p.API, now)
	return s, err
}

// End ends the processes; what is in the directory stays.
func (s *Served) End(ctx context.Context) error { return s.twin.halt(ctx) }

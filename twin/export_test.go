// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"os"
	"time"
)

// StartOnTakenPort makes a twin start while somebody listens where its API
// server should, as if that had happened right after the ports were chosen. It
// reports whether the twin noticed that this was the reason.
func StartOnTakenPort(ctx context.Context, stateDir string) (noticed bool, err error) {
	bin, err := binary()
	if err != nil {
		return false, err
	}
	o, _, err := Options{StateDir: stateDir, Tied: true}.complete()
	if err != nil {
		return false, err
	}
	root, err := rootDir(stateDir)
	if err != nil {
		return false, err
	}
	t := newTwin(root, "taken")
	for _, dir := range []string{"pki", "logs", "audit"} {
		if err := os.MkdirAll(t.path(dir), 0o700); err != nil {
			return false, err
		}
	}
	if err := writeCertificates(t.path("pki"), time.Now()); err != nil {
		return false, err
	}
	p, err := choosePorts()
	if err != nil {
		return false, err
	}
	taken, err := listen(p.API)
	if err != nil {
		return false, err
	}
	defer taken.Close()
	startErr := t.startAt(ctx, bin, o, p)
	return errors.Is(startErr, errPortTaken), t.destroy(ctx)
}

// Complete is Options.complete.
func (o Options) Complete() (Options, error) {
	out, _, err := o.complete()
	return out, err
}

// Differences is differences.
func Differences(have, want Options) []string { return differences(have, want) }

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"refit.dev/refit/twin"
	"refit.dev/refit/witness"
)

// judged has a witness watch while a program maintains the cluster.
func (e *environment) judged(ctx context.Context, work func() (sample, error)) (sample, error) {
	config, err := e.twin.RESTConfig()
	if err != nil {
		return sample{}, err
	}
	w, err := witness.Start(ctx, witness.Options{Config: config, AuditLog: e.twin.AuditLog(), ControlPlane: []string{twin.SystemGroup}})
	if err != nil {
		return sample{}, err
	}
	s, err := work()
	if err != nil {
		return s, errors.Join(err, w.Close())
	}
	verdict, err := w.Judge(ctx)
	if err != nil {
		return s, err
	}
	s.moves, s.broken = verdict.MovesPerPod(), len(verdict.Broken)
	return s, nil
}

// lowerBound asks refit for the lower bound of its plan, in seconds.
func (e *environment) lowerBound(ctx context.Context, args ...string) (float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, "refit"), append([]string{"--kubeconfig", e.twin.Kubeconfig()}, args...)...)
	cmd.Env = append(cmd.Environ(), "REFIT_STATE_DIR="+e.state)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%v: %w\n%s", cmd.Args, err, errs.String())
	}
	for values := json.NewDecoder(&out); ; {
		var value struct {
			LowerBoundSeconds float64 `json:"lowerBoundSeconds"`
		}
		err := values.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("%v: the plan names no lower bound", cmd.Args)
		case err != nil:
			return 0, fmt.Errorf("%v: read the plan: %w", cmd.Args, err)
		case value.LowerBoundSeconds > 0:
			return value.LowerBoundSeconds, nil
		}
	}
}

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
	argv := e.refitArgs(args)
	out, err := output(ctx, argv, e.stateDir())
	if err != nil {
		return 0, err
	}
	for values := json.NewDecoder(bytes.NewReader(out)); ; {
		var value struct {
			LowerBoundSeconds float64 `json:"lowerBoundSeconds"`
		}
		err := values.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return 0, fmt.Errorf("%v: the plan names no lower bound", argv)
		case err != nil:
			return 0, fmt.Errorf("%v: read the plan: %w", argv, err)
		case value.LowerBoundSeconds > 0:
			return value.LowerBoundSeconds, nil
		}
	}
}

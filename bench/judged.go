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

// forecast is what a plan says of its run, in seconds.
type forecast struct {
	LowerBound float64 `json:"lowerBoundSeconds"`
	Predicted  float64 `json:"predictedSeconds"`
}

// forecast asks refit for its plan.
func (e *environment) forecast(ctx context.Context, args ...string) (forecast, error) {
	argv := e.refitArgs(args)
	out, err := output(ctx, argv, e.stateDir())
	if err != nil {
		return forecast{}, err
	}
	for values := json.NewDecoder(bytes.NewReader(out)); ; {
		var value forecast
		err := values.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return forecast{}, fmt.Errorf("%v: the plan names no lower bound", argv)
		case err != nil:
			return forecast{}, fmt.Errorf("%v: read the plan: %w", argv, err)
		case value.LowerBound > 0:
			return value, nil
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// StepAside has another member lead if the one at the endpoint does, which is the only one
// (see LocateOwn): the voter that has applied most. It returns the new leader's name, "" if there was nothing to do. When a
// member that leads is taken away the others have no leader until they have elected one,
// which takes them an election timeout (a second by default), and nothing is written or
// read meanwhile; the leadership that is handed over is missed for milliseconds
// (MoveLeader in go.etcd.io/etcd/server/v3/etcdserver/server.go).
func (a Access) StepAside(ctx context.Context) (to string, err error) {
	others, err := a.Others(ctx)
	if err != nil || len(others) == 0 {
		return "", err
	}
	all := a
	all.Endpoints = append([]string{a.Endpoints[0]}, others...)
	candidates, err := all.Candidates(ctx)
	if err != nil {
		return "", err
	}
	own := candidates[0]
	if own.Err != nil || own.ID != own.Leader {
		return "", own.Err
	}
	heir, err := inherit(candidates[1:], own.Applied)
	if err != nil {
		return "", err
	}
	client, err := a.connect(ctx, own.Endpoint)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
	defer cancel()
	if _, err := client.MoveLeader(ctx, heir.ID); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return "", fmt.Errorf("have %s lead: %w", heir.Name, err)
	}
	return heir.Name, nil
}

// inherit picks who may lead; applied is how far the leader is.
func inherit(others []Candidate, applied uint64) (Candidate, error) {
	for _, c := range others {
		applied = max(applied, c.Applied)
	}
	var wrong []string
	fit := slices.DeleteFunc(slices.Clone(others), func(c Candidate) bool {
		why := c.unfit(applied)
		if why != "" {
			wrong = append(wrong, c.Endpoint+" "+why)
		}
		return why != ""
	})
	if len(fit) == 0 {
		return Candidate{}, fmt.Errorf("no other member of etcd can lead: %s", strings.Join(wrong, "; "))
	}
	return slices.MinFunc(fit, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Applied, a.Applied), cmp.Compare(a.Name, b.Name))
	}), nil
}

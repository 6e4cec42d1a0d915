// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Candidates asks every endpoint, at the same time, what it says of itself. The result is
// in the order of the endpoints. The error is that of wrong input; who does not answer is
// a candidate with an Err.
func (a Access) Candidates(ctx context.Context) ([]Candidate, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	found := make([]Candidate, len(a.Endpoints))
	var asked sync.WaitGroup
	for i, e := range a.Endpoints {
		asked.Go(func() { found[i] = a.candidate(ctx, e) })
	}
	asked.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("ask the members of etcd: %w", context.Cause(ctx))
	}
	return found, nil
}

// candidate asks one endpoint.
func (a Access) candidate(ctx context.Context, endpoint string) Candidate {
	c := Candidate{Endpoint: endpoint}
	client, err := a.connect(ctx, endpoint)
	if err != nil {
		c.Err = err
		return c
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
	defer cancel()
	if err := c.ask(ctx, client); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		c.Err = fmt.Errorf("ask etcd at %s: %w", endpoint, err)
	}
	return c
}

func (c *Candidate) ask(ctx context.Context, client *clientv3.Client) error {
	status, err := client.Status(ctx, client.Endpoints()[0])
	if err != nil {
		return err
	}
	c.ID, c.Cluster, c.Version = status.Header.MemberId, status.Header.ClusterId, status.Version
	c.Leader, c.Learner, c.Applied, c.Size = status.Leader, status.IsLearner, status.RaftAppliedIndex, status.DbSize
	c.Corrupt = slices.ContainsFunc(status.Errors, func(e string) bool {
		return strings.Contains(e, etcdserverpb.AlarmType_CORRUPT.String()) && strings.Contains(e, fmt.Sprint(c.ID))
	})
	c.Full = slices.ContainsFunc(status.Errors, func(e string) bool { return strings.Contains(e, etcdserverpb.AlarmType_NOSPACE.String()) })
	if c.Learner {
		return nil // it would not say who the others are
	}
	list, err := client.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return fmt.Errorf("list the members: %w", err)
	}
	for _, m := range list.Members {
		if m.ID == c.ID {
			c.Name = m.Name
		}
	}
	return nil
}

// Others returns the client URLs of the members of the cluster that are not among the
// endpoints, as the first candidate tells them that answers.
func (a Access) Others(ctx context.Context) ([]string, error) {
	var errs []error
	for _, e := range a.Endpoints {
		client, err := a.connect(ctx, e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		limited, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
		list, err := client.MemberList(limited, clientv3.WithSerializable())
		cancel()
		_ = client.Close() // it was asked all there was to ask
		if err != nil {
			errs = append(errs, fmt.Errorf("ask etcd at %s for its members: %w", e, err))
			continue
		}
		var others []string
		for _, m := range list.Members {
			if m.ID != list.Header.MemberId && len(m.ClientURLs) > 0 && !slices.Contains(a.Endpoints, m.ClientURLs[0]) {
				others = append(others, m.ClientURLs[0])
			}
		}
		slices.Sort(others)
		return others, nil
	}
	return nil, errors.Join(errs...)
}

// Members returns the names of all members of the cluster, sorted, and its revision, as
// the first endpoint says. A member that has not started has no name yet: "".
func (a Access) Members(ctx context.Context) (names []string, revision int64, err error) {
	client, err := a.connect(ctx, a.Endpoints[0])
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, fmt.Errorf("no answer within %s", a.Patience))
	defer cancel()
	status, err := client.Status(ctx, client.Endpoints()[0])
	if err != nil {
		return nil, 0, fmt.Errorf("ask etcd at %s: %w", a.Endpoints[0], err)
	}
	list, err := client.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return nil, 0, fmt.Errorf("ask etcd at %s for its members: %w", a.Endpoints[0], err)
	}
	for _, m := range list.Members {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names, status.Header.Revision, nil
}

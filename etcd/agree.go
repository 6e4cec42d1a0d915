// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// hashPatience is how long a member has to read all of its keys: 8 GB, the most that etcd
// is made for, at 30 MB/s.
const hashPatience = 5 * time.Minute

// Agreement is what all members say.
type Agreement struct {
	Revision int64
	// HashKV is the hash of all keys and their history at Revision; 0 of a single member,
	// which has nobody to agree with.
	HashKV uint32
}

// Agree asks the members of one cluster, each by an Access of its own, which has one
// endpoint, whether they have the same leader and the same keys. Nothing should be
// written meanwhile. The error says which member does not agree, or does not answer.
func Agree(ctx context.Context, members []Access) (Agreement, error) {
	var first Candidate
	var agreed Agreement
	for i, a := range members {
		candidates, err := a.Candidates(ctx)
		if err != nil {
			return agreed, err
		}
		c := candidates[0]
		switch {
		case c.Err != nil:
			return agreed, c.Err
		case c.Leader == 0:
			return agreed, fmt.Errorf("the member of etcd at %s sees no leader", c.Endpoint)
		case c.Corrupt:
			return agreed, fmt.Errorf("the member of etcd at %s has the alarm CORRUPT", c.Endpoint)
		case i == 0:
			first = c
		case c.Cluster != first.Cluster || c.Leader != first.Leader:
			return agreed, fmt.Errorf("the members of etcd at %s and %s are not of one cluster, or do not follow the same leader", first.Endpoint, c.Endpoint)
		}
		if len(members) == 1 { // hashing reads the whole database
			_, agreed.Revision, err = a.Members(ctx)
			return agreed, err
		}
		hash, err := a.hashKV(ctx, agreed.Revision)
		switch {
		case err != nil:
			return agreed, err
		case i == 0:
			agreed = hash
		case hash != agreed:
			return agreed, fmt.Errorf("at revision %d the keys of the member of etcd at %s have the hash %08x, those at %s have %08x",
				agreed.Revision, c.Endpoint, hash.HashKV, first.Endpoint, agreed.HashKV)
		}
	}
	if len(members) == 0 {
		return agreed, errors.New("there is no member of etcd to ask")
	}
	return agreed, nil
}

// hashKV asks for the hash at a revision, or at the last one with 0.
func (a Access) hashKV(ctx context.Context, revision int64) (Agreement, error) {
	endpoint := a.Endpoints[0]
	client, err := a.connect(ctx, endpoint)
	if err != nil {
		return Agreement{}, err
	}
	defer client.Close()
	limited, cancel := context.WithTimeoutCause(ctx, hashPatience, fmt.Errorf("no answer within %s", hashPatience))
	defer cancel()
	found, err := clientv3.NewMaintenance(client).HashKV(limited, client.Endpoints()[0], revision)
	if err != nil {
		return Agreement{}, fmt.Errorf("ask etcd at %s for the hash of its keys: %w", endpoint, err)
	}
	if revision == 0 {
		revision = found.Header.Revision
	}
	return Agreement{Revision: revision, HashKV: found.Hash}, nil
}

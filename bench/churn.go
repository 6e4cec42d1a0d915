// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// churned is an etcd whose keys are rewritten. The same numbers come each time.
type churned struct {
	client *clientv3.Client
	bytes  int64 // to fill
	keys   int
	random *rand.Rand
	hot    []int
}

func newChurned(client *clientv3.Client, megabytes int64) *churned {
	return &churned{client: client, bytes: megabytes * 1_000_000, random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // for no secret
}

// fill writes objects until there is enough.
func (c *churned) fill(ctx context.Context) error {
	var batch []int
	for sum := int64(0); sum < c.bytes; c.keys++ {
		batch = append(batch, c.keys)
		sum += 5000 // in the mean
	}
	return c.write(ctx, batch)
}

// rewrite writes a share of the keys anew, others than before or the same, and compacts what was before.
func (c *churned) rewrite(ctx context.Context, others bool) error {
	if c.hot == nil || others {
		c.hot = c.random.Perm(c.keys)[:max(1, int(rewritten*float64(c.keys)))]
	}
	if err := c.write(ctx, c.hot); err != nil {
		return err
	}
	now, err := c.client.Get(ctx, fillNamespace)
	if err == nil {
		_, err = c.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		return fmt.Errorf("compact etcd: %w", err)
	}
	return nil
}

// write puts objects of 1 to 9 kB whose content does not repeat.
func (c *churned) write(ctx context.Context, keys []int) error {
	type object struct{ key, value string }
	work := make(chan object)
	errs := make([]error, fillWriters)
	var all sync.WaitGroup
	for w := range fillWriters {
		all.Go(func() {
			for o := range work {
				if errs[w] != nil {
					continue // the rest is taken and dropped
				}
				_, errs[w] = c.client.Put(ctx, o.key, o.value)
			}
		})
	}
	for _, k := range keys {
		noise := make([]byte, 500+c.random.IntN(4000))
		for i := range noise {
			noise[i] = byte(c.random.Uint32()) //nolint:gosec // the lowest bits
		}
		name := fmt.Sprintf("t-%07d", k)
		work <- object{fillNamespace + name, fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"namespace":"bench","name":%q},"data":%q}`, name, hex.EncodeToString(noise))}
	}
	close(work)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fill etcd: %w", err)
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
)

// Between two pictures is pictureCost times the time that a picture takes, so
// that a small part of the time goes into them: but no less than pictureLeast,
// and no more than pictureMost, however slow the machine is.
const (
	pictureCost  = 20
	pictureLeast = 50 * time.Millisecond
	pictureMost  = 500 * time.Millisecond
)

// picture is the newest Snapshot: what decisions about the whole cluster are
// made on. Who waits for a part of it waits at the lookout.
type picture struct {
	cluster Cluster
	clock   clock.WithTicker
	aged    chan struct{} // holds one if there is something newer

	taking   sync.Mutex // so that a newer one is never replaced by an older one
	mu       sync.Mutex // guards what follows
	snapshot *cluster.Snapshot
	changed  chan struct{} // closed when snapshot is replaced
}

func newPicture(c Cluster, clk clock.WithTicker) *picture {
	p := &picture{cluster: c, clock: clk, aged: make(chan struct{}, 1)}
	p.take()
	return p
}

// get returns the newest Snapshot, and a channel that is closed when there is a newer one.
func (p *picture) get() (*cluster.Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snapshot, p.changed
}

// age says that the cluster is not as the picture shows it any more.
func (p *picture) age() {
	select {
	case p.aged <- struct{}{}:
	default: // that is known
	}
}

// take makes a new picture, of everything that the watches have brought, and
// returns how long that took.
func (p *picture) take() time.Duration {
	p.taking.Lock()
	defer p.taking.Unlock()
	start := p.clock.Now()
	s := p.cluster.Snapshot()
	took := p.clock.Since(start)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
	}
	p.snapshot, p.changed = s, make(chan struct{})
	return took
}

// renew makes new pictures until ctx ends.
func (p *picture) renew(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.aged:
		}
		pause := p.clock.NewTimer(min(max(pictureLeast, pictureCost*p.take()), pictureMost))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C():
		}
	}
}

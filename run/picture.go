// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
)

// A new Snapshot is made pictureInterval after the last at the earliest, and
// never more often than takes one part in pictureCost of the time.
const (
	pictureInterval = 50 * time.Millisecond
	pictureCost     = 20
)

// picture is the newest Snapshot, shared by everybody who waits for the
// cluster to change.
type picture struct {
	cluster Cluster
	clock   clock.WithTicker

	taking   sync.Mutex // so that a newer one is never replaced by an older one
	mu       sync.Mutex // guards what follows
	snapshot *cluster.Snapshot
	changed  chan struct{} // closed when snapshot is replaced
}

// get returns the newest Snapshot, and a channel that is closed when there is a newer one.
func (p *picture) get() (*cluster.Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.snapshot, p.changed
}

// take makes a new picture, of everything that the watches have brought.
func (p *picture) take() {
	p.taking.Lock()
	defer p.taking.Unlock()
	s := p.cluster.Snapshot()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
	}
	p.snapshot, p.changed = s, make(chan struct{})
}

// follow renews the picture until ctx ends. changes were subscribed to before
// the first picture was taken, so that nothing is missed.
func (p *picture) follow(ctx context.Context, changes Changes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.Ready():
		}
		if len(changes.Take()) == 0 {
			continue
		}
		start := p.clock.Now()
		p.take()
		pause := p.clock.NewTimer(max(pictureInterval, pictureCost*p.clock.Since(start)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C():
		}
	}
}

// errTimeout says that what was waited for did not happen in time.
var errTimeout = errors.New("timed out")

// await waits until test, asked about a picture taken now and about every newer
// one, returns true or an error. It returns errTimeout after limit, and the
// cause of ctx's end.
func (p *picture) await(ctx context.Context, limit time.Duration, test func(*cluster.Snapshot) (bool, error)) error {
	timer := p.clock.NewTimer(limit)
	defer timer.Stop()
	p.take() // what was seen before the last act says nothing about its effect
	for {
		snapshot, changed := p.get()
		if done, err := test(snapshot); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-timer.C():
			return errTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

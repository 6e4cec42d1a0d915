// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"os"
)

// Exclusively does work that is no run, and has no journal, while no run is at work:
// with the cluster's lock, in which it is called what. It returns a *LockedError if a run
// holds the lock. If the lock is lost, the context of the work ends.
func (o *Operator) Exclusively(ctx context.Context, what string, work func(context.Context) error) error {
	machine, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this machine's name: %w", err)
	}
	// Of two at the same time each has its own name, so that neither takes the other's lock for its own.
	holder := holderOf(fmt.Sprintf("%s-%d", what, os.Getpid()), machine)
	lock, err := acquireLease(ctx, o.Client, holder, o.Clock, o.Sink)
	if err != nil {
		return err
	}
	defer lock.held(ctx)()
	working, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		select {
		case <-lock.gone():
			end(errLockLost)
		case <-working.Done():
		}
	}()
	return work(working)
}

// held renews the lock, whatever becomes of ctx, until the function is called that it
// returns: that gives the lock up.
func (l *lease) held(ctx context.Context) (release func()) {
	ctx = context.WithoutCancel(ctx)
	keeping, stop := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() { defer close(kept); l.keep(keeping) }()
	return func() {
		stop()
		<-kept
		releasing, cancel := context.WithTimeout(ctx, releaseLimit)
		defer cancel()
		_ = l.release(releasing) // it expires by itself
	}
}

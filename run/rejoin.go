// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// rejoin is watch for a run that was begun. Its API server may be away for the run's own
// sake, in the middle of the turn of a control plane: it has as long to come back as it
// has while the run is at work (Timeouts.Stall). What is waited for is told once.
func (o *Operator) rejoin(ctx, watching context.Context, spec *Spec) (watcher *cluster.Watcher, err error) {
	limit, told := spec.Timeouts.Stall.Duration, false
	err = retry(ctx, o.Clock, limit, func(call context.Context) error {
		err := o.sameCluster(call, spec)
		if err == nil {
			watcher, err = o.watch(ctx, watching) // not bounded by the call: it reads all of the cluster
		}
		if transient(err) && !told {
			told = true
			o.Sink.Emit(event.Event{
				Time: o.Clock.Now(), Type: event.Warning, Run: spec.Run,
				Message: fmt.Sprintf("the API server does not answer, and is waited for, for %s at most: %v", limit, err),
				Hint:    "look at it if it does not come back; Ctrl-C ends the waiting, and nothing is changed until it answers",
			})
		}
		return err
	})
	if Unreachable(err) {
		err = hint.Wrap(err, "bring the API server back, then: refit runs resume %s; nothing was changed meanwhile", spec.Run)
	}
	return watcher, err
}

// acquire takes the lock for the run, and waits for an API server that is away as rejoin
// does.
func (o *Operator) acquire(ctx context.Context, spec *Spec, machine string) (lock *lease, err error) {
	away := retry(ctx, o.Clock, spec.Timeouts.Stall.Duration, func(context.Context) error {
		// It is not bounded by a call: it may wait for another run's lock to expire.
		if lock, err = acquireLease(ctx, o.Client, holderOf(spec.Run, machine), o.Clock, o.Sink); transient(err) {
			return err
		}
		return nil
	})
	if away != nil {
		return nil, away
	}
	return lock, err
}

// Unreachable tells of an error of Run, Resume or Abort that the API server did not
// answer for as long as it is waited for.
func Unreachable(err error) bool {
	_, unreachable := errors.AsType[*unreachableError](err)
	return unreachable
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
)

// Nodes that wait for their turn have a soft taint while the run is at work, so
// that pods that leave other nodes go where they can stay.
const (
	// steerers is how many nodes are tainted at the same time.
	steerers = 4
	// unsteerLimit is how long the end of the run may take to remove the taints,
	// interruptedLimit the same if somebody waits for the program to end. Before that a
	// request to set one may take its callLimit.
	unsteerLimit     = 2 * time.Minute
	interruptedLimit = 10 * time.Second
)

// steering is the tainting of the nodes that wait, in the background.
type steering struct {
	begin func() // called with the first node that is started: a run that stops before has changed nothing
	end   func() // returns when nothing is tainted any more

	mu      sync.Mutex
	tainted map[string]bool // as far as this process has done it
}

// steer returns how the nodes that wait are tainted. Of one node nothing is to
// be gained, and a node that cannot be tainted is only less well placed.
func (e *engine) steer(ctx context.Context) *steering {
	ctx, stop := context.WithCancel(ctx)
	s := &steering{tainted: map[string]bool{}}
	var work sync.WaitGroup
	s.begin = sync.OnceFunc(func() {
		work.Go(func() {
			if err := e.taintAll(ctx, s); err != nil && ctx.Err() == nil {
				e.emit(event.Event{
					Type: event.Warning, Message: fmt.Sprintf("pods may move more than once: %v", err),
					Hint: "the run needs the permission to patch nodes",
				})
			}
		})
	})
	s.end = func() {
		stop()
		work.Wait()
	}
	return s
}

func (e *engine) taintAll(ctx context.Context, s *steering) error {
	var waiting []Target
	for _, target := range e.spec.Nodes {
		if e.waits(target.Name) {
			waiting = append(waiting, target)
		}
	}
	if len(waiting) < 2 || e.spec.Upgrade != nil && e.spec.Upgrade.AllAtOnce {
		return nil
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(steerers)
	for _, target := range waiting {
		work.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			node := e.cluster.Seen(target.Name)
			if node == nil || node.UID != target.UID {
				return nil
			}
			s.mu.Lock()
			s.tainted[target.Name] = true // perhaps: an answer may be lost
			s.mu.Unlock()
			// Not cut off at the end: a request that is given up may be carried out after the taint was looked for.
			err := retry(ctx, e.clock, e.spec.Timeouts.Stall.Duration, func(call context.Context) error {
				return e.cluster.Taint(call, node, e.spec.Run, func() bool { return e.waits(target.Name) })
			})
			if errors.Is(err, drain.ErrNodeDeleted) || errors.Is(err, drain.ErrNodeReplaced) {
				return nil
			}
			return err
		})
	}
	return work.Wait()
}

// waits tells whether nothing has been done to a node yet.
func (e *engine) waits(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Nodes[name].Standing == Waiting
}

// unsteer removes what taints of the run are left, also those of an earlier
// process of it, whatever the end of the run was.
func (e *engine) unsteer(ctx context.Context, s *steering) error {
	s.end()
	limit := unsteerLimit
	if ctx.Err() != nil {
		limit = interruptedLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	names := maps.Clone(s.tainted)
	for _, target := range e.spec.Nodes {
		if node := e.cluster.Seen(target.Name); node != nil && cluster.TaintedBy(node) == e.spec.Run {
			names[target.Name] = true
		}
	}
	if err := e.untaint(ctx, slices.Sorted(maps.Keys(names))); err != nil {
		return fmt.Errorf("the soft taint %s could not be removed everywhere: %w", cluster.TaintKey, err)
	}
	return nil
}

// untaint removes the run's taint from nodes until ctx ends.
func (e *engine) untaint(ctx context.Context, names []string) error {
	var work errgroup.Group
	work.SetLimit(steerers)
	for _, name := range names {
		work.Go(func() error {
			return e.insist(ctx, func(call context.Context) error { return e.cluster.Untaint(call, name, e.spec.Run) })
		})
	}
	return work.Wait()
}

// insist is retry, but requests are cut off when ctx ends: a taint may be removed
// once more.
func (e *engine) insist(ctx context.Context, f func(context.Context) error) error {
	return retry(ctx, e.clock, e.spec.Timeouts.Stall.Duration, func(call context.Context) error {
		call, cancel := context.WithCancelCause(call)
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
		return f(call)
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

// limits bound what a Watcher puts up with.
type limits struct {
	// refusals is how many refusals in a row, none of them later than
	// refusalMemory after the one before, are a refusal for good. client-go waits
	// 0.8 s, 1.6 s, 3.2 s ... between attempts, so that the default of 5 is 12 to
	// 24 s: longer than an API server that starts takes to know its roles, and
	// shorter than anybody wants to look at a picture that stands still.
	refusals int
	// ask is how often, in the first read, the API server is asked whether it is
	// still there, and lost how many times in a row without an answer are
	// enough. An API server that restarts needs 10 to 20 s, the default is 30 s.
	ask  time.Duration
	lost int
	// unanswered is how long one waits for the first read of a resource to end
	// when the ones before it have: a list of 150,000 pods takes some seconds.
	unanswered time.Duration
	clock      clock.WithTicker // measures the waits
}

// refusalMemory is how long a refusal counts together with the next one.
const refusalMemory = 2 * time.Minute

// askTimeout is how long an answer is waited for.
const askTimeout = 10 * time.Second

func defaultLimits() limits {
	return limits{refusals: 5, ask: 10 * time.Second, lost: 3, unanswered: 2 * time.Minute, clock: clock.RealClock{}}
}

// awaitFirst waits until x has been read for the first time, or may not be read
// and was left out. An API server that goes away after it had told its version
// is an error after a while: client-go tries for ever, and of a connection that
// is refused it does not even tell.
func (w *Watcher) awaitFirst(ctx context.Context, client kubernetes.Interface, x *watched) error {
	ask, unanswered := w.limits.clock.NewTicker(w.limits.ask), w.limits.clock.NewTimer(w.limits.unanswered)
	defer ask.Stop()
	defer unanswered.Stop()
	for lost := 0; ; {
		select {
		case <-x.handler.HasSyncedChecker().Done():
			return nil
		case <-x.dropped:
			return nil
		case <-w.done:
			return fmt.Errorf("watch the cluster: %w", w.Err())
		case <-ask.C():
			err := stillThere(ctx, client)
			if err == nil {
				lost = 0
			} else if lost++; lost >= w.limits.lost && ctx.Err() == nil {
				return err
			}
		case <-unanswered.C():
			if err := x.lastFailure(); err != nil {
				return explainResource(err, x.resource.GroupResource())
			}
			return hint.Wrap(fmt.Errorf("read %s: the API server has not answered in %s", x.resource.GroupResource(), w.limits.unanswered),
				"see what the API server and its etcd say of themselves: kubectl get --raw '/readyz?verbose'")
		}
	}
}

// stillThere asks for the version again.
func stillThere(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := greet(ctx, client, clock.RealClock{})
	return err
}

// failed notes that the list or watch of x ended with err.
func (x *watched) failed(err error) {
	x.failMu.Lock()
	defer x.failMu.Unlock()
	x.failure = err
}

// lastFailure is how the list or watch of x ended last, nil if it did not.
func (x *watched) lastFailure() error {
	x.failMu.Lock()
	defer x.failMu.Unlock()
	return x.failure
}

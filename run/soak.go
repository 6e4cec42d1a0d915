// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
)

// soak keeps the node's slot for a while after all is well again, so that what
// goes wrong only then goes wrong on few nodes. The time counts from the first
// record of it, also for a process that resumes the run.
func (w *worker) soak(ctx context.Context) error {
	whole := w.spec.Soak.Duration
	if whole == 0 {
		return nil
	}
	return w.step(ctx, StepSoak, Record{Reason: fmt.Sprintf("for %s", whole)}, func() (Record, error) {
		// A clock that was set back meanwhile must not make it longer than it was to be.
		left := min(whole, whole-w.clock.Since(w.status.Soaking))
		if left <= 0 {
			return Record{}, nil
		}
		timer := w.clock.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C():
			return Record{}, nil
		case <-ctx.Done():
			return Record{}, context.Cause(ctx)
		}
	})
}

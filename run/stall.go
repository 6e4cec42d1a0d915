// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"time"

	"k8s.io/utils/clock"
)

// stallNotable is how long nothing can be started before that is told: when a node
// is finished the watch may not show it yet, and a moment later the next one starts.
const stallNotable = 5 * time.Second

// stall measures how long nothing could be started while nothing was at work.
type stall struct{ tell, end clock.Timer }

// begin starts the measurement, unless it is under way.
func (s *stall) begin(clk clock.WithTicker, limit time.Duration) {
	if s.end == nil {
		s.tell, s.end = clk.NewTimer(stallNotable), clk.NewTimer(limit)
	}
}

// over ends the measurement.
func (s *stall) over() {
	if s.end != nil {
		s.tell.Stop()
		s.end.Stop()
		s.tell, s.end = nil, nil
	}
}

// notable receives once it is time to tell.
func (s *stall) notable() <-chan time.Time {
	if s.tell == nil {
		return nil
	}
	return s.tell.C()
}

// exceeded receives at the limit.
func (s *stall) exceeded() <-chan time.Time {
	if s.end == nil {
		return nil
	}
	return s.end.C()
}

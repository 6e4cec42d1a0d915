// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"sync"
	"time"

	"refit.dev/refit/event"
)

// stopwatch is a Sink that measures how long each node was worked on: from its
// first phase to its last, which comes when its workloads are back.
type stopwatch struct {
	mu    sync.Mutex
	begun map[string]time.Time
	took  map[string]time.Duration
}

// Emit takes note of phases.
func (s *stopwatch) Emit(e event.Event) {
	if e.Type != event.NodePhase {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun == nil {
		s.begun, s.took = map[string]time.Time{}, map[string]time.Duration{}
	}
	switch begun, known := s.begun[e.Node]; {
	case e.Phase == event.PhasePending:
	case !known:
		s.begun[e.Node] = e.Time
	case e.Phase == event.PhaseDone:
		s.took[e.Node] = e.Time.Sub(begun)
	}
}

// sum is the time of all nodes that are done, one after the other.
func (s *stopwatch) sum() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum time.Duration
	for _, d := range s.took {
		sum += d
	}
	return sum
}

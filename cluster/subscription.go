// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Verb says what happened to an object.
type Verb string

const (
	Added   Verb = "added"
	Updated Verb = "updated"
	Deleted Verb = "deleted"
)

// Change says that an object changed. It carries no object: by the time it is
// read, the Watcher's lookups give the newest state, which is never older than
// the Change. An object that was replaced by another of its name comes as one
// Deleted and one Added.
type Change struct {
	Kind            Kind
	Namespace, Name string
	UID             types.UID
	Verb            Verb
	// Owner is the controller of a pod or of a workload, which is known also when
	// the object is gone; "" for none.
	Owner types.UID
}

// Subscription is a queue of Changes without a bound: its reader may be slow and
// nobody waits for it. It is for one reader.
type Subscription struct {
	w     *Watcher
	ready chan struct{}

	mu    sync.Mutex
	queue []Change
}

// Subscribe opens a Subscription to the changes from now on. It has to be closed.
func (w *Watcher) Subscribe() *Subscription {
	s := &Subscription{w: w, ready: make(chan struct{}, 1)}
	w.subsMu.Lock()
	defer w.subsMu.Unlock()
	w.subs[s] = struct{}{}
	return s
}

// Ready receives when there is something to Take, and once when the watch has
// ended (see Watcher.Done). It may receive once more than needed: Take returns nothing then.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Take returns all changes since the last Take, oldest first. Those of one
// kind of object are in the order of the API server; between kinds there is none.
func (s *Subscription) Take() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := s.queue
	s.queue = nil
	return changes
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.w.subsMu.Lock()
	defer s.w.subsMu.Unlock()
	delete(s.w.subs, s)
}

func (s *Subscription) put(c Change) {
	s.mu.Lock()
	s.queue = append(s.queue, c)
	s.mu.Unlock()
	s.wake()
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default: // it is awake already
	}
}

func (w *Watcher) publish(c Change) {
	w.subsMu.RLock()
	defer w.subsMu.RUnlock()
	for s := range w.subs {
		s.put(c)
	}
}

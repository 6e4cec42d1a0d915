// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import "maps"

// standing returns a copy of where the nodes stand. Decisions about a large
// cluster take their time, and nobody who has something to record waits for them.
func (e *engine) standing() map[string]*NodeStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	nodes := make(map[string]*NodeStatus, len(e.status.Nodes))
	for name, n := range e.status.Nodes {
		copied := *n
		copied.Steps = maps.Clone(n.Steps)                         // its lists are replaced, never changed
		copied.Evicted = max(n.Evicted, e.tally.evictedFrom(name)) // the journal has it when the drain is done
		nodes[name] = &copied
	}
	return nodes
}

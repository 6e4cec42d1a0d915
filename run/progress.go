// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import "maps"

// progress returns a copy of where the nodes stand. Decisions about a large
// cluster take their time, and nobody who has something to record waits for them.
func (e *engine) progress(active map[string]bool) Progress {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := Progress{Nodes: make(map[string]*NodeStatus, len(e.status.Nodes)), Active: active, Now: e.clock.Now(), Sought: map[string]int{}}
	for name, n := range e.status.Nodes {
		copied := *n
		copied.Steps = maps.Clone(n.Steps) // its lists are replaced, never changed
		evicted, sought := e.tally.evictedFrom(name)
		copied.Evicted += evicted
		if active[name] {
			p.Sought[name] = n.Evicted + sought
		}
		p.Nodes[name] = &copied
	}
	return p
}

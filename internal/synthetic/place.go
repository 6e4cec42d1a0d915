// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"fmt"
	"slices"
)

// place makes a workload and finds a node for each of its pods: one with much
// room among a few, as the scheduler does when it looks at a part of the nodes.
func (m *maker) place(w *workload) error {
	owner := m.makeWorkload(w)
	used := map[int]bool{}
	var perZone [zones]int
	for i := range w.replicas {
		zone := -1
		if w.spread {
			zone = slices.Index(perZone[:], slices.Min(perZone[:]))
		}
		n := m.find(w, zone, used)
		if n < 0 {
			return fmt.Errorf("a synthetic cluster of %d nodes has no room for pod %d of %s", m.Nodes, i, w.name)
		}
		h := &m.hosts[n]
		h.cpu, h.mem, h.pod = h.cpu-w.cpu, h.mem-w.mem, h.pod-1
		perZone[h.zone]++
		used[n] = true
		m.makePod(w, owner, i, h)
	}
	if w.budgeted && w.replicas > 0 {
		m.makeBudget(w)
	}
	return nil
}

// find returns a node for a pod, in that zone if it is not -1; -1 if there is none.
func (m *maker) find(w *workload, zone int, used map[int]bool) int {
	const tries = 6
	fits := func(n int) bool {
		h := &m.hosts[n]
		return (zone < 0 || h.zone == zone) && (!w.apart || !used[n]) && h.cpu >= w.cpu && h.mem >= w.mem && h.pod > 0
	}
	workers := len(m.hosts) - controlPlanes
	best := -1
	better := func(n int) {
		if fits(n) && (best < 0 || m.hosts[n].cpu > m.hosts[best].cpu) {
			best = n
		}
	}
	for range tries {
		better(controlPlanes + m.rand.IntN(workers))
	}
	for n := controlPlanes; best < 0 && n < len(m.hosts); n++ {
		better(n)
	}
	return best
}

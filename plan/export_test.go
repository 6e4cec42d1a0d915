// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Draw writes down everything that a decision may depend on, in terms that do not
// depend on how things are numbered.
func (w *World) Draw() string {
	var b strings.Builder
	for i := range w.nodes {
		n := &w.nodes[i]
		free := w.board.Free(i)
		free.Extra = nil // numbered in the order in which they were met
		fmt.Fprintf(&b, "%s zone %d control plane %v schedulable %v free %v load %.6f\n", n.name, n.zone, n.controlPlane, n.schedulable, free, w.board.Load(i))
		for _, p := range n.pods {
			x := w.pods[p]
			fmt.Fprintf(&b, "  requests %v on %d place %d healthy %v gated %v stuck %v replaced %v afterwards %v fits",
				w.board.Requests(x.class), x.node, x.place, x.healthy, x.gated, x.stuck, x.replaced, x.afterwards)
			for j := range w.nodes {
				if w.board.Fits(x.class, j) {
					fmt.Fprintf(&b, " %d", j)
				}
				if w.board.Static(x.class, j) {
					b.WriteString("s")
				}
			}
			b.WriteString("\n")
			if x.budget >= 0 {
				r := &w.budgets[x.budget]
				fmt.Fprintf(&b, "    budget %s/%s at best %d allowed %d since %v of %d eaten on %v\n", r.source.Namespace, r.source.Name, r.atBest, r.allowed,
					r.exhausted, r.source.Status.DesiredHealthy, slices.Sorted(maps.Keys(r.eatenOn)))
			}
			if x.set >= 0 {
				q := &w.sets[x.set]
				fmt.Fprintf(&b, "    set %s missing %d on %v\n", q.source.Object(), q.missing, q.missingOn)
			}
		}
	}
	return b.String()
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// Codes of the Findings in a Plan.
const (
	// NeverEvicted: no eviction of the pod will ever be granted.
	NeverEvicted = "pod-never-evicted"
	// NoPlace: pods of the workload that have to leave a node will fit nowhere at that time.
	NoPlace = "pod-without-place"
	// NodeNotFinished: the node will not be finished unless something changes that is not refit's to change.
	NodeNotFinished = "node-not-finished"
)

// blockers are the pods that keep nodes from ever being emptied.
func (w *World) blockers(targets []int) []cluster.Finding {
	list := []cluster.Finding{}
	w.each(targets, func(n int, p *pod) {
		if !p.stuck {
			return
		}
		f := cluster.Finding{
			Severity: cluster.Blocker, Code: NeverEvicted,
			Object: cluster.Object{Kind: "Pod", Namespace: p.source.Namespace, Name: p.source.Name},
		}
		f.Message = fmt.Sprintf("keeps node %s from being drained: %s", w.Name(n), budget.Refusal(p.source.Budgets).Message)
		list = append(list, f)
	})
	cluster.SortFindings(list)
	return list
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"time"

	"refit.dev/refit/plan"
	"refit.dev/refit/run"
)

// Planned is what a plan expected of a run. All times count from the run's begin.
type Planned struct {
	// Nodes has an entry for each node of the plan that it expected to start, in any order.
	Nodes []PlannedNode
	// LowerBound is the time that no order of the nodes could have undercut,
	// Predicted the time that the plan expected; 0 where it is not known.
	LowerBound, Predicted time.Duration
	// MovesPerPod is 0 where it is not known.
	MovesPerPod float64
}

// PlannedNode is what the plan expected of a visit to a node: when it begins, when the
// last pod is gone (0 if the plan does not say), and when the slot is free again.
type PlannedNode struct {
	Name                string
	Start, Drained, End time.Duration
}

// PlannedBy is what a Plan expected; nothing if it is nil.
func PlannedBy(p *plan.Plan) Planned {
	if p == nil {
		return Planned{}
	}
	out := Planned{LowerBound: length(p.LowerBoundSeconds), Predicted: length(p.PredictedSeconds), MovesPerPod: p.MovesPerPod()}
	for _, n := range p.Nodes {
		if n.Start != nil && n.Drained != nil && n.Done != nil {
			out.Nodes = append(out.Nodes, PlannedNode{Name: n.Name, Start: length(*n.Start), Drained: length(*n.Drained), End: length(*n.Done)})
		}
	}
	return out
}

// PlannedUpgrade is what was expected of the stages of an upgrade.
func PlannedUpgrade(u *run.Upgrade) Planned {
	var out Planned
	for _, stage := range u.Stages {
		for _, x := range stage.Expected {
			end := length(x.Start + x.Seconds)
			out.Nodes = append(out.Nodes, PlannedNode{Name: x.Node, Start: length(x.Start), End: end})
			out.Predicted = max(out.Predicted, end)
		}
	}
	return out
}

func length(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

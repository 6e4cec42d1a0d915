// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/plan"
)

// TestManyNodesWithoutRoom: when every pod would have to move again, on more nodes
// than a decision looks at, one of them is started all the same.
func TestManyNodesWithoutRoom(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4} {
		shape := synthetic.Large(50)
		shape.Seed = seed
		objs, err := shape.Objects()
		if err != nil {
			t.Fatal(err)
		}
		held, err := cluster.Hold(objs)
		if err != nil {
			t.Fatal(err)
		}
		s := held.Snapshot()
		in := &plan.Intent{MaxUnavailable: 10, MaxMoves: 1, Work: time.Minute}
		for _, n := range s.Nodes {
			in.Nodes = append(in.Nodes, n.Name)
		}
		made, err := plan.Make(plan.NewWorld(s, plan.Drain{Leaves: func(p *cluster.Pod) bool { return !p.DaemonSet() && !p.Mirror() }}), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range made.Nodes {
			if n.Done == nil {
				t.Errorf("seed %d: %s is never done: %s", seed, n.Name, n.Waits)
			}
		}
	}
}

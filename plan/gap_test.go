// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refit.dev/refit/plan"
)

// instances is how many small clusters are tried: about two of five can be maintained
// completely and are small enough for an exhaustive search.
var instances = flag.Uint64("instances", 150, "how many small clusters are compared with the optimum")

// How far plans may be from the optimum.
const (
	mostAtHalf  = 1.10
	mostAtWorst = 1.50
)

// gap is how long a plan takes, as a multiple of the shortest possible time.
type gap struct {
	seed           uint64
	gentle, unruly float64
}

// TestPlansAreNearTheOptimum compares plans for small clusters with the optimum: with
// what keeps to the same rules, and, for the record, with what only keeps to slots, zones,
// budgets and quorums. docs/explanation/planner.md has the table that it logs with -v.
func TestPlansAreNearTheOptimum(t *testing.T) {
	var gaps []gap
	var mu sync.Mutex
	given := 0
	t.Run("", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for seed := shard; seed < *instances; seed += shards {
					g, ok := gapOf(t, seed)
					mu.Lock()
					if ok {
						gaps = append(gaps, g)
					} else {
						given++
					}
					mu.Unlock()
				}
			})
		}
	})
	if uint64(len(gaps)) < *instances/4 {
		t.Fatalf("only %d of %d clusters could be compared", len(gaps), *instances)
	}
	t.Logf("%d clusters compared, %d left out\n%s", len(gaps), given, table(gaps))
	slices.SortFunc(gaps, func(a, b gap) int { return int((a.gentle - b.gentle) * 1e6) })
	if half := gaps[len(gaps)/2].gentle; half > mostAtHalf {
		t.Errorf("the median is %.3f times the optimum, want %.2f at most", half, mostAtHalf)
	}
	if worst := gaps[len(gaps)-1]; worst.gentle > mostAtWorst {
		t.Errorf("the worst is %.3f times the optimum, want %.2f at most (seed %d)\n%s", worst.gentle, mostAtWorst, worst.seed, smallTown(worst.seed).draw())
	}
}

// smallTown is one of those that are compared: 3 to 6 nodes.
func smallTown(seed uint64) *town {
	x := foundTown(seed, 3+int(seed%4), 1+int(seed/4%3)) //nolint:gosec // small
	x.intent.Nodes = nil
	for i := range x.nodes {
		x.intent.Nodes = append(x.intent.Nodes, x.nodes[i].name)
	}
	x.intent.MaxUnavailable = min(x.intent.MaxUnavailable, 3)
	return x
}

// gapOf is not ok for a cluster that cannot be maintained completely, nor if the
// search for the optimum takes too long.
func gapOf(t *testing.T, seed uint64) (gap, bool) {
	x := smallTown(seed)
	w := x.world()
	p, err := plan.Make(w, &x.intent)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(p.Nodes, func(n plan.Node) bool { return n.Done == nil }) || p.PredictedSeconds == 0 {
		return gap{}, false
	}
	predicted := time.Duration(p.PredictedSeconds * float64(time.Second))
	moves := max(p.Moves, int(x.intent.MaxMoves*float64(p.Pods)))
	const effort = 10_000
	gentle, found := plan.Optimum(w, &x.intent, true, moves, predicted, effort)
	unruly, foundToo := plan.Optimum(w, &x.intent, false, 0, gentle, effort)
	if !found || !foundToo {
		return gap{}, false
	}
	return gap{seed, predicted.Seconds() / gentle.Seconds(), predicted.Seconds() / unruly.Seconds()}, true
}

func table(gaps []gap) string {
	var b strings.Builder
	b.WriteString("| percentile | same rules | no canary, any number of moves |\n|---|---|---|\n")
	at := func(percent int, of func(gap) float64) float64 {
		var list []float64
		for _, g := range gaps {
			list = append(list, of(g))
		}
		slices.Sort(list)
		return list[min(len(list)-1, len(list)*percent/100)]
	}
	for _, percent := range []int{25, 50, 75, 90, 95, 99, 100} {
		fmt.Fprintf(&b, "| %d | %.3f | %.3f |\n", percent, at(percent, func(g gap) float64 { return g.gentle }), at(percent, func(g gap) float64 { return g.unruly }))
	}
	return b.String()
}

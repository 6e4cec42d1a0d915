// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
)

type finding = cluster.Finding

// shards are how many tests look for a counterexample at the same time.
const shards = 4

// TestAnyPlanKeepsTheRules makes plans for random clusters, replays them with the
// checker, and makes them again from the same objects in another order.
// `-rapid.checks` says how many, for each of the shards.
func TestAnyPlanKeepsTheRules(t *testing.T) {
	for shard := range shards {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				x := randomTown(t, shard)
				first := made(t, x, x.world())
				if faults := checkPlan(x, first); len(faults) > 0 {
					t.Fatalf("%s\n%s\n%s", strings.Join(faults, "\n"), encode(first), x.draw())
				}
				objs := x.objects()
				rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 1)).Shuffle(len(objs), func(i, j int) { objs[i], objs[j] = objs[j], objs[i] }) //nolint:gosec // the seed is rapid's
				w := plan.NewWorld(assembled(objs), drain())
				one, two := decided(w, x, first), decided(w, x, first)
				if said, again := first.DeadEnd(), w.DeadEnd(&x.intent, first.Order(w)); encode(said) != encode(append([]finding{}, again...)) {
					t.Fatalf("of a plan that is applied later other things are said:\n%s\n%s\n%s", encode(again), encode(first), x.draw())
				}
				if second := encode(made(t, x, w)); encode(first) != second || one != two {
					t.Fatalf("the same cluster, another plan:\n%s\n%s\nor verdict:\n%s\n%s", encode(first), second, one, two)
				}
			})
		})
	}
}

// decided is what may be started at the beginning.
func decided(w *plan.World, x *town, p *plan.Plan) string {
	return encode(w.Decide(&x.intent, p.Order(w), w.NewState(&x.intent)))
}

func made(t *rapid.T, x *town, w *plan.World) *plan.Plan {
	p, err := plan.Make(w, &x.intent)
	if err != nil {
		t.Fatalf("%v\n%s", err, x.draw())
	}
	return p
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

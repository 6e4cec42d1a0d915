// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"refit.dev/refit/placement"
)

// TestTheEmptiestNode puts and takes pods, lets nodes in and out, and compares what
// is found with a look at every node.
func TestTheEmptiestNode(t *testing.T) {
	found, none := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))} //nolint:gosec // the seed is rapid's
		// Beyond 24 nodes that a pod does not fit on it goes another way.
		m := newModel(g, rapid.SampledFrom([]int{1, 5, 80}).Draw(t, "nodes"), rapid.IntRange(1, 30).Draw(t, "pods"))
		b := placement.NewBoard(m.snapshot())
		in := make([]bool, b.Nodes())
		for i := range in {
			in[i] = g.sometimes(2)
		}
		e := placement.NewEmptiest(b, func(node int) bool { return in[node] })
		for range rapid.IntRange(0, 200).Draw(t, "changes") {
			p := m.pods[g.IntN(len(m.pods))]
			c, on, node := m.class(b, p), m.on(p), g.IntN(b.Nodes())
			switch g.IntN(5) {
			case 0:
				in[node] = true
				e.Add(node)
			case 1:
				in[node] = false
				e.Remove(node)
			case 2:
				if on >= 0 && b.Take(c, on) {
					e.Emptier(on)
					p.Spec.NodeName = ""
				}
			case 3:
				if on < 0 && !finished(p) {
					b.Put(c, node)
					p.Spec.NodeName = m.nodes[node].Name
				}
			}
			if !g.sometimes(3) {
				continue // what is out of date piles up
			}
			want := -1
			for i := range in {
				if in[i] && b.Fits(c, i) && (want < 0 || b.Load(i) < b.Load(want)) {
					want = i
				}
			}
			if got := e.Find(c); got != want {
				t.Fatalf("found %d, want %d", got, want)
			}
			if want < 0 {
				none++
			} else {
				found++
			}
		}
	})
	t.Logf("%d times a node is found, %d times not", found, none)
	if found < 100 || none < 100 {
		t.Errorf("%d times a node is found, %d times not: too few to mean anything", found, none)
	}
}

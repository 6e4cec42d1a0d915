// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"runtime"
	"testing"

	"refit.dev/refit/internal/synthetic"
)

func held(tb testing.TB, nodes int) *Held {
	tb.Helper()
	objs, err := synthetic.Large(nodes).Objects()
	if err != nil {
		tb.Fatal(err)
	}
	h, err := Hold(objs)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(h.Stop)
	return h
}

// BenchmarkSnapshot ties together what the caches hold, as a run does again and again.
func BenchmarkSnapshot(b *testing.B) {
	for _, nodes := range []int{300, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			h := held(b, nodes)
			var s *Snapshot
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				s = h.Snapshot()
			}
			if len(s.Pods) != 30*nodes {
				b.Errorf("%d pods", len(s.Pods))
			}
		})
	}
}

// BenchmarkFromObjects copies, trims and ties together.
func BenchmarkFromObjects(b *testing.B) {
	shape := synthetic.Large(5000)
	objs, err := shape.Objects()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromObjects(shape.Now, objs...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAround is what a drain asks before it begins, and a wait after each change.
func BenchmarkAround(b *testing.B) {
	h := held(b, 5000)
	s := h.Snapshot()
	b.Run("node", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h.Around(s.Nodes[i%len(s.Nodes)].Name)
		}
	})
	b.Run("workload", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h.Workload(s.Workloads[i%len(s.Workloads)].UID)
		}
	})
}

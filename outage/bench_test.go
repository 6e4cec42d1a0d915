// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"testing"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/outage"
)

// BenchmarkLarge measures 5,000 nodes and 150,000 pods: the loss of every node by
// itself, of a single node, and of a zone of a third of them.
func BenchmarkLarge(b *testing.B) {
	shape := synthetic.Large(5000)
	objs, err := shape.Objects()
	if err != nil {
		b.Fatal(err)
	}
	s, err := cluster.FromObjects(shape.Now, objs...)
	if err != nil {
		b.Fatal(err)
	}
	p, _ := outage.ReadParameters(s)
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			if _, err := outage.Rank(s, p, 10*time.Minute); err != nil {
				b.Fatal(err)
			}
		}
	})
	zone := outage.InZone(s, outage.ZoneNames(s)[0])
	for name, nodes := range map[string][]string{"Node": zone[:1], "Zone": zone} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := outage.Predict(s, p, outage.Request{Nodes: nodes}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

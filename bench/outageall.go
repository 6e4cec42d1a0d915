// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/synthetic"
	"refit.dev/refit/outage"
)

// outageFiveThousand measures how long it takes to forecast the loss of each node of a
// large cluster, of one node, and of a zone.
func outageFiveThousand(ctx context.Context, b *bench) (section, error) {
	shape := synthetic.Large(5000)
	objs, err := shape.Objects()
	if err != nil {
		return section{}, err
	}
	s, err := cluster.FromObjects(shape.Now, objs...)
	if err != nil {
		return section{}, err
	}
	p, _ := outage.ReadParameters(s)
	zone := outage.InZone(s, outage.ZoneNames(s)[0])
	lines := [][]string{}
	for _, x := range []struct {
		what, goal string
		run        func() error
	}{
		{"each node by itself (`--all --for 10m`)", "under 10 s", func() error {
			_, err := outage.Rank(s, p, 10*time.Minute)
			return err
		}},
		{"one node", "", func() error {
			_, err := outage.Predict(s, p, outage.Request{Nodes: zone[:1]})
			return err
		}},
		{fmt.Sprintf("a zone of %d nodes", len(zone)), "", func() error {
			_, err := outage.Predict(s, p, outage.Request{Nodes: zone})
			return err
		}},
	} {
		var took []float64
		for range b.longRounds {
			if err := context.Cause(ctx); err != nil {
				return section{}, err
			}
			start := time.Now()
			if err := x.run(); err != nil {
				return section{}, err
			}
			took = append(took, time.Since(start).Seconds())
		}
		b.logf("%s: %.1f s", x.what, took)
		lines = append(lines, []string{x.what, spreadOf(took).seconds(), x.goal})
	}
	return section{
		title:  fmt.Sprintf("Forecasting outages of %d nodes with %d pods", len(s.Nodes), len(s.Pods)),
		about:  "A cluster that is made up, as for planning, is read already when the clock starts.",
		tables: []table{{columns: []string{"lost", "forecast", "goal"}, lines: lines}},
	}, nil
}

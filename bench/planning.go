// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"refit.dev/refit/internal/phrase"
)

// planSizes are how many nodes the clusters have that are planned.
var planSizes = [...]int{100, 300, 1000, 3000, 5000}

// planFiveThousand measures how long planning takes, and how that grows.
func planFiveThousand(ctx context.Context, b *bench) (section, error) {
	growth := table{columns: []string{
		"nodes", "pods", "budgets", "picture", "numbering", "order", "first plan", "decision", "after an event", "memory", "of it the cluster", "predicted by bound", "moves per pod",
	}}
	var largest []*planned
	for _, nodes := range planSizes {
		rounds := make([]*planned, b.longRounds)
		for i := range rounds {
			p, err := measurePlan(ctx, nodes)
			if err != nil {
				return section{}, err
			}
			rounds[i] = p
			b.logf("%d nodes, round %d: planned in %s with %d MiB, again in %s", nodes, i+1,
				p.first().Round(time.Millisecond), p.Memory>>20, typical(p.redecided()).Round(10*time.Microsecond))
		}
		growth.lines = append(growth.lines, growthLine(rounds))
		largest = rounds
	}
	over := func(f func(*planned) float64) spread { return spreadOver(largest, f) }
	last := largest[0]
	return section{
		title: fmt.Sprintf("Planning %d nodes with %d pods and %d budgets", last.Nodes, last.Pods, last.Budgets),
		about: "Clusters that are made up, in three zones, with Deployments and StatefulSets of all sizes, some spread over the zones, some kept " +
			"apart, some with volumes of one zone, 60% of the CPU requested: all nodes are to be maintained, a fifth of them at the same time at " +
			"most. The objects are in the watch's caches when the clock starts. Each plan is made by a process of its own.",
		tables: []table{
			{
				columns: []string{"", "refit", "goal"},
				lines: [][]string{
					{"first plan", over(func(p *planned) float64 { return p.first().Seconds() }).seconds(), "under 5 s"},
					{"CPU time of it", over(func(p *planned) float64 { return p.CPU.Seconds() }).seconds(), ""},
					{"largest resident set", over(func(p *planned) float64 { return float64(p.Memory) / (1 << 20) }).mebibytes(), "under 2048 MiB"},
					{"decision after one event", over(func(p *planned) float64 { return typical(p.redecided()).Seconds() * 1000 }).format("%.1f", " ms"), "under 50 ms"},
					{"the slowest one", over(func(p *planned) float64 { return slices.Max(p.redecided()).Seconds() * 1000 }).format("%.1f", " ms"), ""},
					{"a decision alone", over(func(p *planned) float64 { return p.Decide.Seconds() * 1000 }).format("%.1f", " ms"), ""},
				},
			},
			growth,
			byEvent(largest),
		},
		notes: []string{
			phrase.Count(b.longRounds, "round") + ".",
			"Picture: from the caches to a Snapshot. Numbering: from the Snapshot to what the planner works on. Order: the forecasts that are tried. " +
				"Decision: the first one by the plan. After an event: from a change in the caches, of one object, to the next decision about the " +
				"whole cluster, as a run makes it, the median over the kinds of events in the last table. A run keeps what it decides on up to date " +
				fmt.Sprintf("change by change, once it has read the cluster: that took %s at the largest size, where %d nodes were at work, for all of whose pods a "+
					"decision finds places. Something new to read it again for - a node ",
					typical(each(largest, func(p *planned) time.Duration { return p.Keep })).Round(10*time.Millisecond), last.AtWork) +
				"is added or relabelled - is read in the background.",
			"The largest resident set includes the cluster itself, as it is in the caches, which the next column tells.",
		},
	}, nil
}

// growthLine is the line for one size; the time of a part is the median over the rounds.
func growthLine(rounds []*planned) []string {
	of := func(f func(*planned) time.Duration) string {
		return typical(each(rounds, f)).Round(100 * time.Microsecond).String()
	}
	p := rounds[0]
	memory, held := p.Memory, p.Held
	for _, r := range rounds {
		memory, held = max(memory, r.Memory), max(held, r.Held)
	}
	return []string{
		fmt.Sprint(p.Nodes), fmt.Sprint(p.Pods), fmt.Sprint(p.Budgets),
		of(func(p *planned) time.Duration { return p.Snapshot }),
		of(func(p *planned) time.Duration { return p.World }),
		of(func(p *planned) time.Duration { return p.Make }),
		of((*planned).first),
		of(func(p *planned) time.Duration { return p.Decide }),
		of(func(p *planned) time.Duration { return typical(p.redecided()) }),
		fmt.Sprintf("%d MiB", memory>>20), fmt.Sprintf("%d MiB", held>>20),
		fmt.Sprintf("%.2f", p.Predicted/p.Bound), fmt.Sprintf("%.3f", p.Moves),
	}
}

// byEvent are the times after events by their kind.
func byEvent(rounds []*planned) table {
	t := table{columns: []string{"decision after one event", "median", "slowest"}}
	for _, x := range happenings() {
		var times []time.Duration
		for i := range rounds {
			times = append(times, rounds[i].Redecide[x.name]...)
		}
		t.lines = append(t.lines, []string{x.name, milliseconds(typical(times)), milliseconds(slices.Max(times))})
	}
	return t
}

func milliseconds(t time.Duration) string { return fmt.Sprintf("%.1f ms", t.Seconds()*1000) }

// typical is the median.
func typical(times []time.Duration) time.Duration { return median(slices.Sorted(slices.Values(times))) }

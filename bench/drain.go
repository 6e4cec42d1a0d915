// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/twin"
)

var (
	//go:embed manifests/one-node.yaml
	oneNodeManifest []byte
	//go:embed manifests/one-budget.yaml
	oneBudgetManifest []byte
)

// replacementReady is how long a pod of manifests/one-budget.yaml takes from
// being scheduled to Ready: the shortest time between two evictions.
const replacementReady = 500 * time.Millisecond

// drainOneNode drains a node with 110 pods that terminate at once.
func drainOneNode(ctx context.Context, b *bench) (section, error) {
	pairs, err := b.backAndForth(ctx, oneNodeManifest, 110)
	if err != nil {
		return section{}, err
	}
	walls := spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() / p.kubectl.wall.Seconds() })
	requests := spreadOver(pairs, func(p pair) float64 { return float64(p.refit.requests) / float64(p.kubectl.requests) })
	return section{
		title: "A node with 110 pods that terminate at once",
		about: "Two nodes; all 110 pods of one Deployment without a budget are on one of them, which is drained, and " +
			"then the other by the other program.",
		tables: []table{compared(
			wallRow(pairs, walls.ratio(), "at most 0.100"),
			requestRow(pairs, requests.ratio(), "at most 1.000"),
			memoryRow(pairs),
		)},
		notes: []string{phrase.Count(len(pairs), "round") + "."},
	}, nil
}

// drainOneBudget drains a node whose 20 pods share a budget that lets one go at a time.
func drainOneBudget(ctx context.Context, b *bench) (section, error) {
	const pods = 20
	pairs, err := b.backAndForth(ctx, oneBudgetManifest, pods)
	if err != nil {
		return section{}, err
	}
	bound := (pods * replacementReady).Seconds()
	refit := spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() / bound })
	kubectl := spreadOver(pairs, func(p pair) float64 { return p.kubectl.wall.Seconds() / bound })
	walls := spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() / p.kubectl.wall.Seconds() })
	return section{
		title: "20 pods of one budget with maxUnavailable 1",
		about: fmt.Sprintf("Two nodes; the pods' replacements are Ready %s after they are scheduled, so that %d replacements "+
			"one after another take %.0f s at the least: the lower bound.", replacementReady, pods, bound),
		tables: []table{compared(
			wallRow(pairs, walls.ratio(), ""),
			row{what: "wall time by the lower bound", refit: refit.ratio(), kubectl: kubectl.ratio(), goal: "refit at most 1.200"},
			requestRow(pairs, "", ""),
		)},
		notes: []string{phrase.Count(len(pairs), "round") + "."},
	}, nil
}

// backAndForth has both programs drain the node that carries all the pods, in
// turn: what one evicts from a node lands on the other node, which is the next to be drained.
func (b *bench) backAndForth(ctx context.Context, manifest []byte, pods int) (pairs []pair, err error) {
	e, err := b.start(ctx, manifest, twin.Options{Nodes: 2, Zones: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = e.stop(ctx, err) }()
	nodes, err := e.nodes(ctx)
	if err != nil {
		return nil, err
	}
	// Everything starts on the first node.
	if err := e.gather(ctx, nodes[0], nodes[1], pods); err != nil {
		return nil, err
	}
	full, empty := nodes[0], nodes[1]
	drain := func(program func(context.Context, ...string) (sample, error), args ...string) (sample, error) {
		s, err := program(ctx, append([]string{"drain", full}, args...)...)
		if err != nil {
			return s, err
		}
		if err := e.settled(ctx, empty, pods); err != nil {
			return s, err
		}
		if _, err := e.kubectl(ctx, "uncordon", full); err != nil {
			return s, err
		}
		full, empty = empty, full
		return s, nil
	}
	for round := range b.rounds {
		var p pair
		steps := []func() error{
			func() (err error) { p.refit, err = drain(e.refit); return err },
			func() (err error) { p.kubectl, err = drain(e.kubectl, "--ignore-daemonsets"); return err },
		}
		if round%2 == 1 {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return nil, err
			}
		}
		b.logf("round %d: refit %s, kubectl %s", round+1, p.refit.wall.Round(time.Millisecond), p.kubectl.wall.Round(time.Millisecond))
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func wallRow(pairs []pair, ratio, goal string) row {
	return row{
		what:    "wall time",
		refit:   spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() }).seconds(),
		kubectl: spreadOver(pairs, func(p pair) float64 { return p.kubectl.wall.Seconds() }).seconds(),
		ratio:   ratio,
		goal:    goal,
	}
}

func requestRow(pairs []pair, ratio, goal string) row {
	return row{
		what:    "API requests",
		refit:   spreadOver(pairs, func(p pair) float64 { return float64(p.refit.requests) }).count(),
		kubectl: spreadOver(pairs, func(p pair) float64 { return float64(p.kubectl.requests) }).count(),
		ratio:   ratio,
		goal:    goal,
	}
}

func memoryRow(pairs []pair) row {
	const mebibyte = 1 << 20
	return row{
		what:    "memory",
		refit:   spreadOver(pairs, func(p pair) float64 { return float64(p.refit.memory) / mebibyte }).mebibytes(),
		kubectl: spreadOver(pairs, func(p pair) float64 { return float64(p.kubectl.memory) / mebibyte }).mebibytes(),
	}
}

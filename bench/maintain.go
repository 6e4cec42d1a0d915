// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/twin"
)

//go:embed manifests/fleet.yaml
var fleetManifest string

const (
	fleets        = 20
	fleetPods     = 50
	fleetNodes    = 50
	fleetReboot   = 5 * time.Second
	fleetShare    = "20%"
	plentyOfRoom  = "{cpu: 50m, memory: 64Mi}"
	largelyFilled = "{cpu: 170m, memory: 696Mi}" // 1,000 of them are 85% of 50 nodes with 4 CPUs and 16 GiB
)

// fleet returns the manifests of the Deployments with their budgets.
func fleet(requests string) []byte {
	var b strings.Builder
	for i := range fleets {
		b.WriteString("---\n")
		b.WriteString(strings.NewReplacer("NAME", fmt.Sprintf("fleet-%02d", i+1), "REQUESTS", requests).Replace(fleetManifest))
	}
	return []byte(b.String())
}

// maintainFifty takes 50 nodes with 1,000 pods through maintenance with a
// simulated reboot, against the loop that administrators write.
func maintainFifty(ctx context.Context, b *bench) (section, error) {
	m, err := b.maintainFleet(ctx, plentyOfRoom, b.longRounds)
	if err != nil {
		return section{}, err
	}
	return m.section("", "refit at most 1.250", "at most 0.200", "refit at most 1.050", "none"), nil
}

// maintainFull does the same with 85% of the capacity requested.
func maintainFull(ctx context.Context, b *bench) (section, error) {
	m, err := b.maintainFleet(ctx, largelyFilled, 1)
	if err != nil {
		return section{}, err
	}
	return m.section(", 85% of the capacity requested", "", "", "", "none"), nil
}

// maintained is what the rounds of one maintenance benchmark gave.
type maintained struct {
	pairs  []pair
	bounds []float64 // lower bound of the plan of each round, in seconds
}

// maintainFleet has both programs maintain all nodes of a cluster of their own:
// how the last one left the pods spread would be the next one's luck.
func (b *bench) maintainFleet(ctx context.Context, requests string, rounds int) (*maintained, error) {
	m := &maintained{}
	flags := []string{"maintain", "--all", "--reboot", "--max-unavailable", fleetShare, "--work-estimate", fleetReboot.String()}
	for round := range rounds {
		var p pair
		var bound float64
		steps := []func(*environment) error{
			func(e *environment) (err error) {
				if bound, err = e.lowerBound(ctx, append(flags, "--dry-run", "-o", "json")...); err != nil {
					return err
				}
				p.refit, err = e.judged(ctx, func() (sample, error) { return e.refit(ctx, append(flags, "--yes")...) })
				return err
			},
			func(e *environment) (err error) {
				p.kubectl, err = e.judged(ctx, func() (sample, error) { return e.kubectlLoop(ctx) })
				return err
			},
		}
		if round%2 == 1 {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			err := func() (err error) {
				e, err := b.start(ctx, fleet(requests), twin.Options{Nodes: fleetNodes, Zones: 3, Reboot: fleetReboot})
				if err != nil {
					return err
				}
				defer func() { err = e.stop(ctx, err) }()
				if err := step(e); err != nil {
					return err
				}
				return e.allReady(ctx, fleets*fleetPods)
			}()
			if err != nil {
				return nil, err
			}
		}
		b.logf("round %d: refit %s (lower bound %.1f s) and %.3f moves per pod, kubectl loop %s and %.3f", round+1,
			p.refit.wall.Round(time.Second), bound, p.refit.moves, p.kubectl.wall.Round(time.Second), p.kubectl.moves)
		m.pairs, m.bounds = append(m.pairs, p), append(m.bounds, bound)
	}
	return m, nil
}

// section reports; the goals are for the wall time by the lower bound, the ratio
// of wall times, the moves per pod and the broken budgets.
func (m *maintained) section(what, bound, ratio, moves, broken string) section {
	walls := spreadOver(m.pairs, func(p pair) float64 { return p.refit.wall.Seconds() / p.kubectl.wall.Seconds() })
	refit, kubectl := make([]float64, len(m.pairs)), make([]float64, len(m.pairs))
	for i, p := range m.pairs {
		refit[i], kubectl[i] = p.refit.wall.Seconds()/m.bounds[i], p.kubectl.wall.Seconds()/m.bounds[i]
	}
	return section{
		title: fmt.Sprintf("%d nodes with %d pods, each node rebooted%s", fleetNodes, fleets*fleetPods, what),
		about: fmt.Sprintf("%d Deployments of %d pods under budgets of 10%%; a reboot takes %s. refit: `refit maintain --all --reboot "+
			"--max-unavailable %s`. kubectl: for each node `kubectl drain`, reboot, wait until it is Ready with a new boot ID, "+
			"`kubectl uncordon`.", fleets, fleetPods, fleetReboot, fleetShare),
		rows: []row{
			wallRow(m.pairs, walls.ratio(), ratio),
			{what: "wall time by the plan's lower bound", refit: spreadOf(refit).ratio(), kubectl: spreadOf(kubectl).ratio(), goal: bound},
			{
				what:    "moves per pod",
				refit:   spreadOver(m.pairs, func(p pair) float64 { return p.refit.moves }).ratio(),
				kubectl: spreadOver(m.pairs, func(p pair) float64 { return p.kubectl.moves }).ratio(),
				goal:    moves,
			},
			{
				what:    "broken budgets",
				refit:   spreadOver(m.pairs, func(p pair) float64 { return float64(p.refit.broken) }).count(),
				kubectl: spreadOver(m.pairs, func(p pair) float64 { return float64(p.kubectl.broken) }).count(),
				goal:    broken,
			},
			requestRow(m.pairs, "", ""),
			memoryRow(m.pairs),
		},
		notes: []string{
			fmt.Sprintf("%d rounds, each program on a cluster of its own. Every pod was Ready at the end.", len(m.pairs)),
			fmt.Sprintf("The plan's lower bound is %s, from `--dry-run`; no order of the nodes takes less.", spreadOf(m.bounds).seconds()),
			"Moves and broken budgets are from a witness that watches the cluster and reads the audit log.",
			"kubectl's memory is that of its largest single process; refit's is of the one process that did all of it.",
		},
	}
}

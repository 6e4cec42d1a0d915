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

// fleet returns the manifests of n Deployments with their budgets.
func fleet(n int) []byte {
	var b strings.Builder
	for i := range n {
		b.WriteString("---\n")
		b.WriteString(strings.ReplaceAll(fleetManifest, "NAME", fmt.Sprintf("fleet-%02d", i+1)))
	}
	return []byte(b.String())
}

// maintainFifty takes 50 nodes with 1,000 pods through maintenance with a
// simulated reboot, against the loop that administrators write.
func maintainFifty(ctx context.Context, b *bench) (section, error) {
	const (
		nodes  = 50
		pods   = 1000
		reboot = 5 * time.Second
	)
	var pairs []pair
	for round := range b.longRounds {
		var p pair
		steps := []func(*environment) error{
			func(e *environment) (err error) {
				p.refit, err = e.refit(ctx, "maintain", "--all", "--reboot", "--max-unavailable", "10%", "--yes")
				return err
			},
			func(e *environment) (err error) { p.kubectl, err = e.kubectlLoop(ctx); return err },
		}
		if round%2 == 1 {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			// A cluster of its own for each: how the last one left the pods spread would be the next one's luck.
			err := func() (err error) {
				e, err := b.start(ctx, fleet(20), twin.Options{Nodes: nodes, Zones: 3, Reboot: reboot})
				if err != nil {
					return err
				}
				defer func() { err = e.stop(ctx, err) }()
				return step(e)
			}()
			if err != nil {
				return section{}, err
			}
		}
		b.logf("round %d: refit %s, kubectl loop %s", round+1, p.refit.wall.Round(time.Second), p.kubectl.wall.Round(time.Second))
		pairs = append(pairs, p)
	}
	walls := spreadOver(pairs, func(p pair) float64 { return p.refit.wall.Seconds() / p.kubectl.wall.Seconds() })
	return section{
		title: fmt.Sprintf("%d nodes with %d pods, each node rebooted", nodes, pods),
		about: fmt.Sprintf("20 Deployments of 50 pods under budgets of 10%%; a reboot takes %s. refit: `refit maintain --all --reboot "+
			"--max-unavailable 10%%`. kubectl: for each node `kubectl drain`, reboot, wait until it is Ready with a new boot ID, "+
			"`kubectl uncordon`.", reboot),
		rows: []row{
			wallRow(pairs, walls.ratio(), ""),
			requestRow(pairs, "", ""),
			memoryRow(pairs),
		},
		notes: []string{
			fmt.Sprintf("%d rounds, each program on a cluster of its own.", len(pairs)),
			"kubectl's memory is that of its largest single process; refit's is of the one process that did all of it.",
		},
	}, nil
}

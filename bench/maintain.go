// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"refit.dev/refit/internal/phrase"
)

// maintainFifty takes 50 nodes with 1,000 pods through maintenance with a
// simulated reboot, against the loop that administrators write.
func maintainFifty(ctx context.Context, b *bench) (section, error) {
	m := &fleetRuns{bench: b, requests: plentyOfRoom, reboot: fleetReboot}
	tenth, err := m.refit(ctx, "10%")
	if err != nil {
		return section{}, err
	}
	fifth, err := m.refit(ctx, "20%")
	if err != nil {
		return section{}, err
	}
	unsteered, err := (&fleetRuns{bench: b, requests: plentyOfRoom, reboot: fleetReboot, deaf: true}).refit(ctx, "20%")
	if err != nil {
		return section{}, err
	}
	slow, err := (&fleetRuns{bench: b, requests: plentyOfRoom, reboot: slowReboot}).refit(ctx, "20%")
	if err != nil {
		return section{}, err
	}
	loop, err := m.loop(ctx)
	if err != nil {
		return section{}, err
	}
	return section{
		title: fmt.Sprintf("%d nodes with %d pods, each node rebooted", fleetNodes, fleets*fleetPods),
		about: aboutFleets + " kubectl: for each node `kubectl drain`, reboot, wait until it is Ready with a new boot ID, `kubectl uncordon`; " +
			"once, because its time hardly varies. Ratios and bounds: refit's wall time by kubectl's, and by the lower bound of its plan.",
		tables: []table{{
			columns: []string{"", "refit, 10% at once", "refit, 20% at once", "kubectl", "goal"},
			lines: [][]string{
				{"wall time", tenth.wall().seconds(), fifth.wall().seconds(), loop.wall().seconds(), ""},
				{"by kubectl's", tenth.by(loop).ratio(), fifth.by(loop).ratio(), "", "20%: at most 0.200"},
				{"predicted by the plan", tenth.predicted().seconds(), fifth.predicted().seconds(), "", ""},
				{"lower bound of the plan", tenth.bound().seconds(), fifth.bound().seconds(), "", ""},
				{"by the lower bound", tenth.byBound().ratio(), fifth.byBound().ratio(), "", "20%: at most 1.250"},
				{"moves per pod", tenth.moves().ratio(), fifth.moves().ratio(), loop.moves().ratio(), "20%: at most 1.050"},
				{"broken budgets", tenth.broken().count(), fifth.broken().count(), loop.broken().count(), "none"},
				{"API requests", tenth.requests().count(), fifth.requests().count(), loop.requests().count(), ""},
				{"memory", tenth.memory().mebibytes(), fifth.memory().mebibytes(), loop.memory().mebibytes(), ""},
			},
		}, {
			columns: []string{"20% at once", "as it is", "with a scheduler that ignores soft taints"},
			lines: [][]string{
				{"moves per pod", fifth.moves().ratio(), unsteered.moves().ratio()},
				{"wall time", fifth.wall().seconds(), unsteered.wall().seconds()},
			},
		}, {
			columns: []string{"20% at once", "a reboot takes " + fleetReboot.String(), "a reboot takes " + slowReboot.String()},
			lines: [][]string{
				{"wall time", fifth.wall().seconds(), slow.wall().seconds()},
				{"lower bound of the plan", fifth.bound().seconds(), slow.bound().seconds()},
				{"by the lower bound", fifth.byBound().ratio(), slow.byBound().ratio()},
				{"processors busy", fifth.busy().percent(), slow.busy().percent()},
				{"moves per pod", fifth.moves().ratio(), slow.moves().ratio()},
				{"broken budgets", fifth.broken().count(), slow.broken().count()},
			},
		}},
		notes: []string{
			phrase.Count(b.longRounds, "round") + " of refit, each on a cluster of its own. Every pod was Ready at the end.",
			"Moves and broken budgets are from a witness that watches the cluster and reads the audit log.",
			"kubectl's memory is that of its largest single process; refit's is of the one process that did all of it.",
		},
	}, nil
}

// maintainFull does the same with 85% of the capacity requested.
func maintainFull(ctx context.Context, b *bench) (section, error) {
	m := &fleetRuns{bench: b, requests: largelyFilled, reboot: fleetReboot}
	runs, err := m.refit(ctx, "20%")
	if err != nil {
		return section{}, err
	}
	return section{
		title: fmt.Sprintf("%d nodes with %d pods, each node rebooted, 85%% of the capacity requested", fleetNodes, fleets*fleetPods),
		about: aboutFleets,
		tables: []table{{
			columns: []string{"", "refit, 20% at once"},
			lines: [][]string{
				{"wall time", runs.wall().seconds()},
				{"predicted by the plan", runs.predicted().seconds()},
				{"lower bound of the plan", runs.bound().seconds()},
				{"by the lower bound", runs.byBound().ratio()},
				{"moves per pod", runs.moves().ratio()},
				{"broken budgets", runs.broken().count()},
				{"memory", runs.memory().mebibytes()},
			},
		}},
		notes: []string{
			phrase.Count(b.longRounds, "round") + ", each on a cluster of its own. Every pod was Ready at the end.",
			"A node has room for 23 of these pods, and holds 20. So one that is done takes in the pods of one other and three more: " +
				"pods that are to move once let two nodes at a time go only when seven are done, and ten hardly ever. " +
				"The prediction goes by that; the lower bound, which forgives what one node lacks in each round, is far below it.",
		},
	}, nil
}

var aboutFleets = fmt.Sprintf("%d Deployments of %d pods under budgets of 10%%, each rolled out a second time before the clock starts, because all "+
	"the pods that a cluster starts at once are slow and tell nothing about the time that one takes; a reboot takes %s. refit: `refit maintain --all --reboot "+
	"--max-unavailable 10%%` or `20%%`, with `--work-estimate %s`.", fleets, fleetPods, fleetReboot, fleetReboot)

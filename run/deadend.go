// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
)

// mostStops is how many nodes an error lists, one a line.
const mostStops = 20

// deadEnd is the error of a run that could not empty any node. stops says why, node
// by node (see plan.World.DeadEnd).
func deadEnd(stops []cluster.Finding) error {
	lines := []string{"it would not be safe to begin: no node can be emptied"}
	var hints []string
	for _, f := range stops {
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
		}
	}
	for _, f := range stops[:min(len(stops), mostStops)] {
		lines = append(lines, fmt.Sprintf("  node %s %s", f.Object.Name, f.Message))
	}
	if more := len(stops) - mostStops; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more", phrase.Count(more, "node")))
	}
	return hint.Wrap(&BlockedError{errors.New(strings.Join(lines, "\n"))}, "%s", strings.Join(append(hints, "nothing was changed"), "; "))
}

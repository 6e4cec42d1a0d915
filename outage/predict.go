// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// Predict says what becomes of the pods of the nodes in r if they go away at the
// moment of the snapshot. Nodes that the snapshot does not know, none at all and
// a negative duration are errors.
func Predict(s *cluster.Snapshot, _ Parameters, r Request) (*Forecast, error) {
	if err := r.check(s); err != nil {
		return nil, err
	}
	return &Forecast{}, nil
}

func (r Request) check(s *cluster.Snapshot) error {
	if len(r.Nodes) == 0 {
		return hint.Wrap(fmt.Errorf("no node was named that could go away"), "name one or more nodes")
	}
	for _, name := range slices.Sorted(slices.Values(r.Nodes)) {
		if s.Node(name) == nil {
			return hint.Wrap(fmt.Errorf("there is no node %q", name), "look at the names: kubectl get nodes")
		}
	}
	if r.For < 0 {
		return hint.Wrap(fmt.Errorf("a node cannot be away for %s", r.For), "say a positive duration; without one it never comes back")
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Intent is what is to be done, and within which limits.
type Intent struct {
	// Nodes are to be maintained; sorted, each once.
	Nodes []string
	// MaxUnavailable is how many nodes of the whole cluster may be out at once.
	MaxUnavailable int
	// MaxUnavailablePerZone is how many of one zone may be; 0 is no limit.
	MaxUnavailablePerZone int
	// MaxMoves is how often a pod may be moved, in the mean over the pods that have
	// to leave the nodes: 1 at the least. The higher, the more nodes go at once
	// although their pods will have to move again.
	MaxMoves float64
	// Work is how long the work on one machine is expected to take.
	Work time.Duration
	// Soak is how long a node that is back keeps its slot.
	Soak time.Duration
}

// DefaultMaxMoves lets one pod of twenty move twice. A loop that drains node by
// node needs about 1.02 moves per pod on 100 nodes, because the scheduler prefers
// the emptied nodes; batches of a fifth of the nodes need 1.2.
const DefaultMaxMoves = 1.05

// Validate says what is wrong with an Intent.
func (in *Intent) Validate() error {
	switch {
	case len(in.Nodes) == 0:
		return errors.New("no nodes to maintain")
	case !slices.IsSorted(in.Nodes) || len(slices.Compact(slices.Clone(in.Nodes))) != len(in.Nodes):
		return errors.New("the nodes to maintain are not sorted, or named twice")
	case in.MaxUnavailable < 1:
		return fmt.Errorf("%d nodes unavailable: want 1 or more", in.MaxUnavailable)
	case in.MaxUnavailablePerZone < 0:
		return fmt.Errorf("%d nodes unavailable per zone: want 0 (no limit) or more", in.MaxUnavailablePerZone)
	case !(in.MaxMoves >= 1): // NaN, too
		return fmt.Errorf("%v moves per pod: want 1 or more", in.MaxMoves)
	case in.Work < 0 || in.Soak < 0:
		return fmt.Errorf("work of %s and a soak of %s: want 0 or more", in.Work, in.Soak)
	}
	return nil
}

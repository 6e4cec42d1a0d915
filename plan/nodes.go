// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
)

// atBest is how many pods a budget lets go at once when all is well.
func atBest(b *cluster.Budget) int {
	members, known := budget.Steady(b)
	return budget.AtBest(b.PodDisruptionBudget, members, known)
}

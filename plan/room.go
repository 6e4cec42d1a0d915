// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
)

// budgetRoom is what a budget lets go.
type budgetRoom struct {
	source *cluster.Budget
	// atBest is how many pods may be away when all is well, allowed how many more may
	// go now: below zero if that many have to become healthy before one may.
	atBest, allowed int
	// exhausted is since when it has let nothing go; zero if that is not known, or not so.
	exhausted time.Time
	// eatenOn are the nodes on which a pod is that uses the budget up.
	eatenOn map[int]bool
}

// passing is how long a budget that lets nothing go is taken for one whose pods were
// evicted a moment ago, and are about to be replaced.
const passing = 10 * time.Second

// serve takes over from a budget what it lets go now.
func (r *budgetRoom) serve(pdb *policyv1.PodDisruptionBudget) {
	r.allowed, r.exhausted = allowedNow(pdb), time.Time{}
	if c := meta.FindStatusCondition(pdb.Status.Conditions, policyv1.DisruptionAllowedCondition); c != nil && c.Status == metav1.ConditionFalse {
		r.exhausted = c.LastTransitionTime.Time
	}
}

// returns tells whether the budget, which lets nothing go, will hardly stay so: it
// did a moment ago. Of pods that do not become healthy that is not long true.
func (r *budgetRoom) returns(now time.Time) bool {
	return r.allowed == 0 && !r.exhausted.IsZero() && !r.exhausted.After(now) && now.Sub(r.exhausted) < passing
}

// refuses tells whether the Eviction API refuses a pod, healthy or not, when the
// budget lets so many go. Once as many are healthy as it wants, it lets those go that
// are not.
func (r *budgetRoom) refuses(allowed int, healthy bool) bool {
	return allowed < 0 || allowed == 0 && (healthy || r.source.Status.DesiredHealthy == 0)
}

// allowedNow is how many pods a budget lets go now; below zero if that many have to
// become healthy before it lets one go.
func allowedNow(pdb *policyv1.PodDisruptionBudget) int {
	switch {
	case pdb.Status.ObservedGeneration < pdb.Generation:
		return 0 // the server refuses until the disruption controller has looked
	case pdb.Status.DisruptionsAllowed == 0:
		return min(0, int(pdb.Status.CurrentHealthy-pdb.Status.DesiredHealthy))
	}
	return int(pdb.Status.DisruptionsAllowed)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A budget that lets nothing go is waited for by nodes that are at work already, if it
// let pods go a moment ago.
func TestBudgetThatReturns(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	status := func(allowed, healthy int32, condition metav1.ConditionStatus, ago time.Duration) *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{Status: policyv1.PodDisruptionBudgetStatus{
			DisruptionsAllowed: allowed, CurrentHealthy: healthy, DesiredHealthy: 9,
			Conditions: []metav1.Condition{{
				Type: policyv1.DisruptionAllowedCondition, Status: condition, LastTransitionTime: metav1.NewTime(now.Add(-ago)),
			}},
		}}
	}
	for name, c := range map[string]struct {
		pdb  *policyv1.PodDisruptionBudget
		want bool
	}{
		"used up a moment ago":     {status(0, 9, metav1.ConditionFalse, time.Second), true},
		"used up for long":         {status(0, 9, metav1.ConditionFalse, passing), false},
		"more away than it allows": {status(0, 8, metav1.ConditionFalse, time.Second), false},
		"lets one go":              {status(1, 10, metav1.ConditionTrue, time.Second), false},
		"by a clock that is ahead": {status(0, 9, metav1.ConditionFalse, -time.Minute), false},
		"without the condition":    {&policyv1.PodDisruptionBudget{}, false},
	} {
		var r budgetRoom
		r.serve(c.pdb)
		if r.returns(now) != c.want {
			t.Errorf("%s: %v, want %v", name, !c.want, c.want)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Silent finds the nodes that are silent already at a time, by the leases in namespace
// kube-node-lease: those whose lease was renewed so long before the one that was renewed
// last that they missed a renewal. What it returns is for Request.Heard. The leases bear
// the kubelets' own times, which are compared with each other and not with at; nothing is
// known of the nodes if all of them are silent.
func Silent(leases []coordinationv1.Lease, p Parameters, at time.Time) map[string]time.Time {
	var newest time.Time
	for i := range leases {
		if t := leases[i].Spec.RenewTime; t != nil && t.After(newest) {
			newest = t.Time
		}
	}
	heard := map[string]time.Time{}
	for i := range leases {
		t := leases[i].Spec.RenewTime
		if t == nil {
			continue
		}
		if age := newest.Sub(t.Time); age > p.LeaseRenewal.Value*3/2 {
			heard[leases[i].Name] = at.Add(-age)
		}
	}
	return heard
}

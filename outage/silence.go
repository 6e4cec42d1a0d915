// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// missed is after how many renewals a lease is silent: none is as late as that by chance.
const missed = 1.5

// renewals is how many a kubelet makes within the duration of its lease (pkg/kubelet/kubelet.go).
const renewals = 4

// ReadLeases takes how often kubelets renew their leases from the leases in namespace
// kube-node-lease, which bear the duration that a kubelet is set up with. If they do not
// agree it is the longest one.
func (p *Parameters) ReadLeases(leases []coordinationv1.Lease) (remarks []string) {
	var longest, shortest int32
	for i := range leases {
		seconds := leases[i].Spec.LeaseDurationSeconds
		if seconds == nil || *seconds <= 0 {
			continue
		}
		longest = max(longest, *seconds)
		if shortest == 0 || *seconds < shortest {
			shortest = *seconds
		}
	}
	if longest == 0 {
		return nil
	}
	p.LeaseRenewal = Setting[time.Duration]{Value: time.Duration(longest) * time.Second / renewals, Source: "leases of the nodes"}
	if shortest < longest {
		short := time.Duration(shortest) * time.Second / renewals
		remarks = append(remarks, "some kubelets renew their leases every "+span(short)+", others every "+span(p.LeaseRenewal.Value)+": the latter is taken for all")
	}
	return remarks
}

// Silent finds the nodes that are silent already at a time, which is when the leases in
// namespace kube-node-lease were read: those whose lease was renewed so long before the one
// that was renewed last that they missed a renewal. What it returns is for Request.Heard.
//
// The leases bear the kubelets' own times, which are compared with each other: nothing is
// known of the nodes if all of them are silent. How old the newest one is depends on the
// clocks. If it is not in the future, nor older than the duration of a lease, the clocks are
// taken to agree on that; otherwise it may be anything up to a renewal.
func Silent(leases []coordinationv1.Lease, p Parameters, at time.Time) map[string]Renewal {
	var newest time.Time
	for i := range leases {
		if t := leases[i].Spec.RenewTime; t != nil && t.After(newest) {
			newest = t.Time
		}
	}
	every := p.LeaseRenewal.Value
	old, oldest := at.Sub(newest), every
	if old < 0 || old > renewals*every {
		old = every / 2
	}
	oldest = max(oldest, old)
	heard := map[string]Renewal{}
	for i := range leases {
		t := leases[i].Spec.RenewTime
		if t == nil {
			continue
		}
		if age := newest.Sub(t.Time); float64(age) > missed*float64(every) {
			latest := at.Add(-age)
			heard[leases[i].Name] = Renewal{At: latest.Add(-old), Earliest: latest.Add(-oldest), Latest: latest}
		}
	}
	return heard
}

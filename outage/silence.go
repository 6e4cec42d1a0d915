// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// missed is after how many renewals a lease is silent: none is as late as that by chance.
const missed = 1.5

// renewals is how many a kubelet makes within the duration of its lease (pkg/kubelet/kubelet.go).
const renewals = 4

// resolution is that of times in objects, and of the time of a Snapshot.
const resolution = time.Second

// ReadLeases takes how often kubelets renew their leases from the leases in namespace
// kube-node-lease, which bear the duration that a kubelet is set up with. If they do not
// agree it is what most of them say, and of several the longest. Leases of nodes that do not
// exist say nothing.
func (p *Parameters) ReadLeases(s *cluster.Snapshot, leases []coordinationv1.Lease) (remarks []string) {
	nodes := map[time.Duration]int{}
	for i := range leases {
		if every := renewal(&leases[i]); every > 0 && s.Node(leases[i].Name) != nil {
			nodes[every]++
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	most := slices.MaxFunc(slices.Sorted(maps.Keys(nodes)), func(a, b time.Duration) int {
		return cmp.Or(cmp.Compare(nodes[a], nodes[b]), cmp.Compare(a, b))
	})
	p.LeaseRenewal = Setting[time.Duration]{Value: most, Source: "leases of the nodes"}
	if len(nodes) > 1 {
		var others []string
		for _, every := range slices.Sorted(maps.Keys(nodes)) {
			if every != most {
				others = append(others, span(every))
			}
		}
		const few = 3
		remarks = append(remarks, "some kubelets renew their leases every "+phrase.Few(others, few)+", most of them every "+span(most)+", which is taken for all")
	}
	return remarks
}

// renewal is how often the kubelet renews a lease; 0: it does not tell.
func renewal(lease *coordinationv1.Lease) time.Duration {
	if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil && *seconds > 0 {
		return time.Duration(*seconds) * time.Second / renewals
	}
	return 0
}

// Silent finds the nodes that are silent already, from the leases in namespace
// kube-node-lease: those that missed a renewal before the time of the Snapshot. What it returns
// is for Request.Heard.
//
// The node controller goes by when it sees that a lease has changed, and not by what the
// kubelet writes into it, whose clock may be anything (tryUpdateNodeHealth in
// pkg/controller/nodelifecycle/node_lifecycle_controller.go). So does this: the API server
// writes down when a field was last changed, by its own clock, with who manages it
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management). Nodes
// whose lease does not bear that, or that have none, are not found.
func Silent(s *cluster.Snapshot, leases []coordinationv1.Lease, p Parameters) map[string]Renewal {
	heard := map[string]Renewal{}
	for i := range leases {
		t, known := renewedAt(&leases[i])
		if !known || s.Node(leases[i].Name) == nil {
			continue
		}
		every := cmp.Or(renewal(&leases[i]), p.LeaseRenewal.Value)
		if age := s.Time.Sub(t); float64(age) > missed*float64(every)+float64(resolution) {
			heard[leases[i].Name] = Renewal{At: t, Earliest: t.Add(-resolution), Latest: t.Add(resolution)}
		}
	}
	return heard
}

// renewedAt is when a lease was last renewed, by the clock of the API server.
func renewedAt(lease *coordinationv1.Lease) (t time.Time, known bool) {
	for _, entry := range lease.ManagedFields {
		if entry.Time != nil && entry.FieldsV1 != nil && strings.Contains(entry.FieldsV1.GetRawString(), `"f:renewTime"`) && entry.Time.After(t) {
			t, known = entry.Time.Time, true
		}
	}
	return t, known
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"maps"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/outage"
)

// TestSilent: only who missed a renewal is silent, whatever the kubelets' clocks say.
func TestSilent(t *testing.T) {
	s := build(t, "node a\nnode b\nnode c\ndeployment web on=a,b,c")
	p, _ := outage.ReadParameters(s)
	skewed := noon.Add(-3 * time.Hour)
	var leases []coordinationv1.Lease
	for name, age := range map[string]time.Duration{"a": 0, "b": 12 * time.Second, "c": 45 * time.Second} {
		leases = append(leases, coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: skewed.Add(-age)}},
		})
	}
	leases = append(leases, coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "new"}})
	heard := outage.Silent(leases, p, noon)
	if want := map[string]time.Time{"c": noon.Add(-45 * time.Second)}; !maps.Equal(heard, want) {
		t.Fatalf("heard of %v, want %v", heard, want)
	}
	f, err := outage.Predict(s, p, outage.Request{Nodes: []string{"c"}, Heard: heard})
	if err != nil {
		t.Fatal(err)
	}
	if m := *f.Nodes[0].Unreachable; m != (outage.Moment{At: 7.5, Earliest: 5, Latest: 10}) {
		t.Errorf("unreachable at %v", m)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"maps"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/outage"
)

// renewed makes leases of the age of their renewals.
func renewed(at time.Time, ages map[string]time.Duration) (leases []coordinationv1.Lease) {
	for name, age := range ages {
		leases = append(leases, coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: at.Add(-age)}},
		})
	}
	return append(leases, coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "new"}})
}

// TestSilent: only who missed a renewal is silent, whatever the kubelets' clocks say; and
// the newest lease, which the others are compared with, has an age of its own.
func TestSilent(t *testing.T) {
	s := build(t, "node a\nnode b\nnode c\ndeployment web on=a,b,c")
	p, _ := outage.ReadParameters(s)
	ages := map[string]time.Duration{"a": 4 * time.Second, "b": 16 * time.Second, "c": 45 * time.Second}
	for _, tc := range []struct {
		clocks string
		at     time.Time // by the kubelets
		c      [3]int    // how long ago, in half seconds: expected, at the most, at the least
		found  outage.Moment
	}{
		// c is Unknown 50 s after its renewal, or up to 5 s later.
		{"agree", noon, [3]int{90, 102, 82}, outage.Moment{At: 7.5, Earliest: 0, Latest: 14}},
		{"are hours behind", noon.Add(-3 * time.Hour), [3]int{92, 102, 82}, outage.Moment{At: 6.5, Earliest: 0, Latest: 14}},
		{"are ahead", noon.Add(20 * time.Second), [3]int{92, 102, 82}, outage.Moment{At: 6.5, Earliest: 0, Latest: 14}},
	} {
		heard := outage.Silent(renewed(tc.at, ages), p, noon)
		ago := func(i int) time.Time { return noon.Add(-time.Duration(tc.c[i]) * time.Second / 2) }
		if want := map[string]outage.Renewal{"c": {At: ago(0), Earliest: ago(1), Latest: ago(2)}}; !maps.Equal(heard, want) {
			t.Errorf("clocks %s: heard of %v, want %v", tc.clocks, heard, want)
			continue
		}
		f, err := outage.Predict(s, p, outage.Request{Nodes: []string{"c"}, Heard: heard})
		if err != nil {
			t.Fatal(err)
		}
		if m := *f.Nodes[0].Unreachable; m != tc.found {
			t.Errorf("clocks %s: unreachable at %v, want %v", tc.clocks, m, tc.found)
		}
	}
}

// TestReadLeases: a kubelet renews its lease four times within its duration.
func TestReadLeases(t *testing.T) {
	s := build(t, "node a\nnode b")
	p, _ := outage.ReadParameters(s)
	leases := renewed(noon, map[string]time.Duration{"a": 0, "b": 0})
	if remarks := p.ReadLeases(leases); remarks != nil || p.LeaseRenewal.Value != 10*time.Second || !p.LeaseRenewal.Assumed {
		t.Errorf("of leases that do not tell: %+v, %q", p.LeaseRenewal, remarks)
	}
	leases[0].Spec.LeaseDurationSeconds = ptr.To[int32](8)
	if remarks := p.ReadLeases(leases); remarks != nil || p.LeaseRenewal.Value != 2*time.Second || p.LeaseRenewal.Assumed {
		t.Errorf("of leases of 8 s: %+v, %q", p.LeaseRenewal, remarks)
	}
	leases[1].Spec.LeaseDurationSeconds = ptr.To[int32](40)
	if remarks := p.ReadLeases(leases); len(remarks) != 1 || p.LeaseRenewal.Value != 10*time.Second {
		t.Errorf("of leases that do not agree: %+v, %q", p.LeaseRenewal, remarks)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/outage"
)

// lease is one that was renewed so long before noon, by the clock of the API server, and by
// the clock of the kubelet that is wrong by so much.
func lease(name string, age, wrong time.Duration, seconds int32) coordinationv1.Lease {
	at := noon.Add(-age)
	fields := metav1.NewFieldsV1
	return coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kubectl-annotate", Time: ptr.To(metav1.NewTime(noon)), FieldsV1: fields(`{"f:metadata":{"f:annotations":{}}}`)},
			{Manager: "kubelet", Time: ptr.To(metav1.NewTime(at)), FieldsV1: fields(`{"f:spec":{"f:leaseDurationSeconds":{},"f:renewTime":{}}}`)},
		}},
		Spec: coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(at.Add(wrong))), LeaseDurationSeconds: &seconds},
	}
}

// TestSilent: who missed a renewal is silent, whatever the clocks of the kubelets say, and
// whatever leases there are of nodes that do not exist.
func TestSilent(t *testing.T) {
	s := build(t, "node a\nnode b\nnode c\nnode d\ndeployment web on=a,b,c")
	p, _ := outage.ReadParameters(s)
	c := outage.Renewal{At: noon.Add(-45 * time.Second), Earliest: noon.Add(-46 * time.Second), Latest: noon.Add(-44 * time.Second)}
	for _, tc := range []struct {
		name   string
		leases []coordinationv1.Lease
		want   map[string]outage.Renewal
	}{
		{"right clocks", []coordinationv1.Lease{lease("a", 4*time.Second, 0, 40), lease("b", 15*time.Second, 0, 40), lease("c", 45*time.Second, 0, 40)}, map[string]outage.Renewal{"c": c}},
		{"one is ahead", []coordinationv1.Lease{lease("a", 4*time.Second, 3*time.Hour, 40), lease("c", 45*time.Second, 0, 40)}, map[string]outage.Renewal{"c": c}},
		{"one is behind", []coordinationv1.Lease{lease("a", 4*time.Second, -3*time.Hour, 40)}, nil},
		{"the silent one is ahead", []coordinationv1.Lease{lease("c", 45*time.Second, time.Minute, 40)}, map[string]outage.Renewal{"c": c}},
		{"of no node", []coordinationv1.Lease{lease("gone", 100*time.Hour, 0, 40), lease("new", -time.Hour, 0, 40), lease("c", 45*time.Second, 0, 40)}, map[string]outage.Renewal{"c": c}},
		{"renewed rarely", []coordinationv1.Lease{lease("c", 45*time.Second, 0, 200)}, nil},
		{"of the future", []coordinationv1.Lease{lease("c", -45*time.Second, 0, 40)}, nil},
		{"nobody knows", []coordinationv1.Lease{{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(noon.Add(-time.Hour)))}}}, nil},
	} {
		if heard := outage.Silent(s, tc.leases, p); !maps.Equal(heard, tc.want) {
			t.Errorf("%s: heard of %v, want %v", tc.name, heard, tc.want)
		}
	}
	f, err := outage.Predict(s, p, outage.Request{Nodes: []string{"c"}, Heard: map[string]outage.Renewal{"c": c}})
	if err != nil {
		t.Fatal(err)
	}
	// It is Unknown 50 s after its renewal, or up to 5 s later.
	if m, want := *f.Nodes[0].Unreachable, (outage.Moment{At: 7.5, Earliest: 4, Latest: 11}); m != want {
		t.Errorf("unreachable at %v, want %v", m, want)
	}
}

// TestReadLeases: a kubelet renews its lease four times within its duration, and one that says
// something else than the others is not believed for all.
func TestReadLeases(t *testing.T) {
	s := build(t, "node a\nnode b\nnode c")
	for _, tc := range []struct {
		name    string
		seconds map[string]int32
		want    time.Duration // 0: not known
		remarks int
	}{
		{"they do not tell", map[string]int32{"a": 0, "b": -5}, 0, 0},
		{"they agree", map[string]int32{"a": 8, "b": 8}, 2 * time.Second, 0},
		{"two do not agree", map[string]int32{"a": 8, "b": 40}, 10 * time.Second, 1},
		{"one is odd", map[string]int32{"a": 8, "b": math.MaxInt32, "c": 8}, 2 * time.Second, 1},
		{"of no node", map[string]int32{"a": 8, "x": 40, "y": 40}, 2 * time.Second, 0},
	} {
		p, _ := outage.ReadParameters(s)
		var leases []coordinationv1.Lease
		for _, name := range slices.Sorted(maps.Keys(tc.seconds)) {
			leases = append(leases, lease(name, 0, 0, tc.seconds[name]))
		}
		remarks := p.ReadLeases(s, leases)
		if got := p.LeaseRenewal; got.Assumed != (tc.want == 0) || tc.want != 0 && got.Value != tc.want || len(remarks) != tc.remarks {
			t.Errorf("%s: %+v, %q", tc.name, got, remarks)
		}
	}
}

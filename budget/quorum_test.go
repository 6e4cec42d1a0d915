// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package budget

import "testing"

func TestQuorum(t *testing.T) {
	for _, tt := range []struct {
		group, kind string
		replicas    int32
		want        bool
	}{
		{"apps", "StatefulSet", 3, true},
		{"apps", "StatefulSet", 4, true},
		{"apps", "StatefulSet", 9, true},
		{"apps", "StatefulSet", 2, false},
		{"apps", "StatefulSet", 1, false},
		{"apps", "StatefulSet", 0, false},
		{"apps", "StatefulSet", -1, false}, // not known
		{"apps", "StatefulSet", 10, false},
		{"apps", "Deployment", 3, false},
		{"apps.kruise.io", "StatefulSet", 3, false},
	} {
		if got := Quorum(tt.group, tt.kind, tt.replicas); got != tt.want {
			t.Errorf("Quorum(%q, %q, %d) = %v", tt.group, tt.kind, tt.replicas, got)
		}
	}
	// One member away leaves a majority of every size that is taken for a quorum.
	for n := int32(leastQuorum); n <= mostQuorum; n++ {
		if n-1 < n/2+1 {
			t.Errorf("%d of %d members are no majority", n-1, n)
		}
	}
}

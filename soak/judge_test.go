// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"strings"
	"testing"

	"refit.dev/refit/witness"
)

// verdict is one of a trial of so many nodes in which all is well.
func verdict(nodes int) *witness.Verdict {
	v := &witness.Verdict{Busiest: witness.Busiest{Out: 2, Nodes: []string{"node-1", "node-2"}}}
	for i := range nodes {
		v.Nodes = append(v.Nodes, witness.NodeHistory{Name: fmt.Sprintf("node-%d", i+1), Cordons: 1, Uncordons: 1, Reboots: 1, Ready: true})
	}
	for i, zone := range []string{"zone-a", "zone-b"} {
		v.BusiestZones = append(v.BusiestZones, witness.BusiestZone{Zone: zone, Busiest: witness.Busiest{Out: 1, Nodes: []string{v.Nodes[i].Name}}})
	}
	return v
}

// The judge of the trials finds what is to be found.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name    string
		perZone int
		change  func(*witness.Verdict)
		want    string // "" for nothing
	}{
		{"all is well", 1, func(*witness.Verdict) {}, ""},
		{"a budget", 0, func(v *witness.Verdict) { v.Broken = []witness.Breach{{Budget: "soak-1/web"}} }, "budget soak-1/web was broken"},
		{"a quorum", 0, func(v *witness.Verdict) { v.BrokenQuorums = []witness.QuorumBreach{{Set: "soak-1/db"}} }, "StatefulSet soak-1/db lost a second member"},
		{"left out", 0, func(v *witness.Verdict) { v.Nodes[3].Reboots = 0 }, "3 of 4 nodes were maintained"},
		{"too many", 0, func(v *witness.Verdict) { v.Busiest.Out = 3 }, "3 nodes were out at once, 2 are allowed"},
		{"too many of a zone", 1, func(v *witness.Verdict) {
			v.BusiestZones[1].Busiest = witness.Busiest{Out: 2, Nodes: []string{"node-2", "node-4"}}
		}, `2 nodes of zone "zone-b" were out at once, 1 are allowed: [node-2 node-4]`},
		{"no limit for zones", 0, func(v *witness.Verdict) { v.BusiestZones[1].Out = 2 }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &trial{nodes: 4, perZone: tt.perZone}
			v := verdict(tr.nodes)
			tt.change(v)
			err := judge(v, tr, &result{peak: v.Busiest.Out, slots: 2})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Zones are limited in some of the trials that every test run makes.
func TestTrialsLimitZones(t *testing.T) {
	limited := 0
	for seed := uint64(1); seed <= 20; seed++ {
		if newTrial(seed).perZone > 0 {
			limited++
		}
	}
	if limited < 3 {
		t.Errorf("%d of 20 trials limit how many nodes of a zone may be out", limited)
	}
}

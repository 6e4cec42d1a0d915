// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/cluster"
)

// Hurt is how much the loss of one node would hurt.
type Hurt struct {
	Node string `json:"node"`
	Zone string `json:"zone,omitempty"`
	// Halts says why nothing is put right anywhere while the node is away: it has
	// the only instance of a component of the control plane. "" if it has not.
	Halts string `json:"halts,omitempty"`
	// Pods is how many are bound to it, Fates how many of them have which fate: that of a
	// machine that is off, where that makes a difference (Worst).
	Pods  int          `json:"pods"`
	Fates map[Fate]int `json:"fates"`
	// Unplaced is how many replacements fit nowhere.
	Unplaced int `json:"unplaced"`
	// NotReady: the node is not Ready as it is, so that some of this has happened.
	NotReady bool `json:"notReady,omitempty"`
	// Down is how many workloads have no healthy pod left at the moment of the loss,
	// Below how many have less than their budget asks for; a budget that several share
	// counts once.
	Down  int `json:"down"`
	Below int `json:"below"`
}

// Rank loses every node by itself, one after the other, and returns what that
// would do, the node first whose loss hurts most: that halts the cluster; then by
// the number of pods lost for good and Jobs failed, of workloads down, of pods
// stuck and replacements that fit nowhere, of budgets broken, of pods that have to
// move, and by name.
func Rank(s *cluster.Snapshot, p Parameters, away time.Duration) ([]Hurt, error) {
	r := Request{For: away}
	if err := r.checkFor(); err != nil {
		return nil, err
	}
	g := newGround(s, p)
	seen := memory{map[*cluster.Workload]standing{}, map[*cluster.Budget]standing{}}
	hurts := make([]Hurt, 0, len(s.Nodes))
	for node := range s.Nodes {
		l := g.lose([]int{node}, r)
		hurts = append(hurts, l.hurt(l.fates(), seen))
		l.reopen()
	}
	slices.SortFunc(hurts, func(a, b Hurt) int {
		if (a.Halts != "") != (b.Halts != "") {
			return cmp.Compare(b.Halts, "") - cmp.Compare(a.Halts, "")
		}
		return cmp.Or(
			cmp.Compare(b.Fates[FateLost]+b.Fates[FateFailsJob], a.Fates[FateLost]+a.Fates[FateFailsJob]),
			cmp.Compare(b.Down, a.Down),
			cmp.Compare(b.Fates[FateStuck]+b.Unplaced, a.Fates[FateStuck]+a.Unplaced),
			cmp.Compare(b.Below, a.Below),
			cmp.Compare(b.Fates[FateReplaced], a.Fates[FateReplaced]),
			cmp.Compare(a.Node, b.Node),
		)
	})
	return hurts, nil
}

// standing is how a workload, or a budget, is doing with all nodes there.
type standing struct{ healthy, required int }

// memory keeps what is the same whatever is lost.
type memory struct {
	workloads map[*cluster.Workload]standing
	budgets   map[*cluster.Budget]standing
}

func (l *loss) hurt(list []judged, seen memory) Hurt {
	node := l.lost[0]
	h := Hurt{Node: l.s.Nodes[node].Name, Zone: l.zones[l.zoneOf[node]].name, Halts: l.halted, Pods: len(list), Fates: map[Fate]int{}, NotReady: l.unready[node]}
	for i := range list {
		j := &list[i]
		h.Fates[j.worst()]++
		if j.renewed && j.place < 0 {
			h.Unplaced++
		}
	}
	for _, c := range l.suffering(list) {
		x, known := seen.workloads[c.workload]
		if !known {
			_, asked, _ := required(c.workload)
			x = standing{healthyOf(c.workload.Pods), asked}
			seen.workloads[c.workload] = x
		}
		left := x.healthy - c.lost
		if c.lost > 0 && left == 0 {
			h.Down++
		}
		if c.lost > 0 && left < x.required {
			h.Below++
		}
	}
	for _, c := range l.shortages(list) {
		x, known := seen.budgets[c.budget]
		if !known {
			x = standing{healthyOf(c.budget.Pods), demanded(c.budget)}
			seen.budgets[c.budget] = x
		}
		if c.lost > 0 && x.healthy-c.lost < x.required {
			h.Below++
		}
	}
	return h
}

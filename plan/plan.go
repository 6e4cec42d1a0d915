// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
)

// Plan is the best order that was found for a run, and what is expected of it.
// It is a value: it says all that is needed to do it, to show it and to find out
// whether it still holds. Times are in seconds since the beginning of the run.
type Plan struct {
	// LowerBoundSeconds is a time in which it cannot be done, whatever the order;
	// Bounds are the limits that say so, the tightest first.
	LowerBoundSeconds float64 `json:"lowerBoundSeconds"`
	Bounds            []Bound `json:"bounds"`
	// PredictedSeconds is how long it is expected to take.
	PredictedSeconds float64 `json:"predictedSeconds"`
	// Pods is how many have to leave the nodes, without those that are terminating
	// already, Moves how many times one of them is expected to.
	Pods  int `json:"pods"`
	Moves int `json:"moves"`
	// Slots is how many nodes of the cluster may be out at once, Peak how many of
	// the run are expected to be.
	Slots int `json:"slots"`
	Peak  int `json:"peak"`
	// Eager is that of the Order.
	Eager int `json:"eager"`
	// Nodes are in the order in which they start; those that cannot, at the end.
	Nodes []Node `json:"nodes"`
	// Blockers are what keeps nodes from ever being emptied: pods, budgets, or that no
	// node of the run can be (see World.DeadEnd). Warnings are what will not go well.
	Blockers []cluster.Finding `json:"blockers"`
	Warnings []cluster.Finding `json:"warnings"`
}

// Node is what is expected for one node.
type Node struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
	// Start, Drained, Back and Done are when it is cordoned, empty, Ready and
	// schedulable again, and when its slot is free. All are absent for a node that
	// cannot be started, and those after Start for one that is not emptied.
	Start   *float64 `json:"startSeconds,omitempty"`
	Drained *float64 `json:"drainedSeconds,omitempty"`
	Back    *float64 `json:"backSeconds,omitempty"`
	Done    *float64 `json:"doneSeconds,omitempty"`
	// Moves are the pods that leave the node, in that order.
	Moves []Move `json:"moves"`
	// Waits is what the node waits for before it starts, or for ever.
	Waits string `json:"waitsFor,omitempty"`
}

// Move is a pod that leaves its node. To is where its replacement is expected;
// "" if nobody replaces it, or if there is no place.
type Move struct {
	Pod string  `json:"pod"`
	To  string  `json:"to,omitempty"`
	At  float64 `json:"seconds"`
	// Lands is when there is a place for the replacement, if there is none at once.
	Lands *float64 `json:"landsSeconds,omitempty"`
	Note  string   `json:"note,omitempty"`
}

// MovesPerPod is the mean over the pods that have to leave; 0 if none has to.
func (p *Plan) MovesPerPod() float64 {
	if p.Pods == 0 {
		return 0
	}
	return float64(p.Moves) / float64(p.Pods)
}

// Order returns the Order of the plan for a World, which may be a later one:
// nodes that are not there any more are left out.
func (p *Plan) Order(w *World) *Order {
	o := &Order{Eager: p.Eager}
	for i := range p.Nodes {
		if n, known := w.Node(p.Nodes[i].Name); known {
			o.Nodes = append(o.Nodes, n)
		}
	}
	return o
}

func seconds(t time.Duration) *float64 {
	if t < 0 {
		return nil
	}
	s := t.Seconds()
	return &s
}

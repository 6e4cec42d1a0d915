// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/placement"
)

// landingBound: pods that are not to move again need nodes that are finished, of
// which there are only as many as were started before. It is the time that the
// nodes would take if all were as quick as the quickest, those with the least to
// move went first, and the largest were the first to take pods in.
func (w *World) landingBound(in *Intent, targets []int, least time.Duration) time.Duration {
	target := make([]bool, len(w.nodes))
	pods := 0
	for _, n := range targets {
		target[n] = true
		pods += len(w.nodes[n].pods)
	}
	rounds := 0
	for _, of := range []func(placement.Resources) int64{
		func(r placement.Resources) int64 { return r.MilliCPU },
		func(r placement.Resources) int64 { return r.Memory },
		func(r placement.Resources) int64 { return r.Pods },
	} {
		x := rounding{slots: in.MaxUnavailable, canary: len(targets) > in.MaxUnavailable}
		var largestPod int64
		for i := range w.nodes {
			free := min(of(w.board.Free(i)), plenty)
			if !target[i] {
				if w.nodes[i].schedulable {
					x.room += free
				}
				continue
			}
			var need int64
			for _, p := range w.nodes[i].pods {
				request := of(w.board.Requests(w.pods[p].class))
				free += request
				if w.pods[p].replaced && w.movable(w.pods[p].class, i, target) {
					need += request
				}
				largestPod = max(largestPod, request)
			}
			x.needs, x.sizes = append(x.needs, need), append(x.sizes, free)
		}
		x.room += int64(spareMoves(in, pods)) * largestPod
		rounds = max(rounds, x.count())
	}
	if rounds == 0 {
		return 0
	}
	return (least-in.Soak)*time.Duration(rounds) + in.Soak // a node takes pods in while it soaks
}

// movable tells whether pods of a class may run on another of the nodes to be
// maintained at all. Those that may not wait for none of them to be done.
func (w *World) movable(c placement.Class, from int, target []bool) bool {
	for i := range w.nodes {
		if i != from && target[i] && w.board.Static(c, i) {
			return true
		}
	}
	return false
}

// plenty is taken for what a node does not limit: sums of it are still numbers.
const plenty = 1 << 48

// rounding is one resource of the nodes to be maintained: what their pods need
// elsewhere, what they offer when they are done, and the room there is anyway.
type rounding struct {
	needs, sizes []int64
	room         int64
	slots        int
	canary       bool
}

// count returns the number of rounds that it takes at the least.
//
// When nothing else is at work a node is started whether or not its pods find room
// on finished nodes. That may happen once in a round, so the largest need of all
// is forgiven once for each.
func (x *rounding) count() int {
	slices.Sort(x.needs)
	slices.SortFunc(x.sizes, func(a, b int64) int { return cmp.Compare(b, a) })
	var largest, offered, needed int64
	if n := len(x.needs); n > 0 {
		largest = x.needs[n-1]
	}
	rounds, done, started := 0, 0, 0
	for started < len(x.needs) {
		for ; done < started; done++ {
			offered += x.sizes[done]
		}
		atOnce := x.slots
		if x.canary && rounds == 0 {
			atOnce = 1
		}
		limit := x.room + offered + largest*int64(rounds+1)
		for first := true; started < len(x.needs) && started-done < atOnce && (first || needed+x.needs[started] <= limit); first = false {
			needed += x.needs[started]
			started++
		}
		rounds++
	}
	return rounds
}

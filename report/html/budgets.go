// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"cmp"
	"slices"
	"time"

	"refit.dev/refit/event"
)

// budgets are the disruption budgets of the run's pods, with their numbers over time.
type budgets struct {
	by map[string]*budget
}

// budget is one of them.
type budget struct {
	name    string // namespace/name
	samples []sample
}

// sample holds from its time until the next one's.
type sample struct {
	at          time.Time
	unavailable int32 // pods that are not healthy
	allowed     int32 // how many of them the budget tolerates
	healthy     int32
	expected    int32
}

func (b *budgets) init() { b.by = map[string]*budget{} }

func (b *budgets) changed(e event.Event) {
	if e.Budget == nil {
		return
	}
	name := e.Budget.Namespace + "/" + e.Budget.Name
	if b.by[name] == nil {
		b.by[name] = &budget{name: name}
	}
	b.by[name].samples = append(b.by[name].samples, sample{
		at:          e.Time,
		unavailable: max(e.Budget.ExpectedPods-e.Budget.CurrentHealthy, 0),
		allowed:     max(e.Budget.ExpectedPods-e.Budget.DesiredHealthy, 0),
		healthy:     e.Budget.CurrentHealthy, expected: e.Budget.ExpectedPods,
	})
}

// worst is the sample with the least to spare, the earliest of those.
func (b *budget) worst() sample {
	return slices.MinFunc(b.samples, func(x, y sample) int {
		return cmp.Or(cmp.Compare(x.allowed-x.unavailable, y.allowed-y.unavailable), cmp.Compare(y.unavailable, x.unavailable))
	})
}

// exceeded tells whether more pods were unavailable than the budget tolerates.
func (b *budget) exceeded() bool { w := b.worst(); return w.unavailable > w.allowed }

// quiet tells whether none of its pods was ever unavailable.
func (b *budget) quiet() bool {
	return !slices.ContainsFunc(b.samples, func(s sample) bool { return s.unavailable > 0 })
}

// peak is the largest number to draw.
func (b *budget) peak() int32 {
	var most int32
	for _, s := range b.samples {
		most = max(most, s.unavailable, s.allowed)
	}
	return most
}

// sorted returns the budgets, those with the least to spare first, the quiet ones last.
func (b *budgets) sorted() []*budget {
	list := make([]*budget, 0, len(b.by))
	for _, name := range sortedKeys(b.by) {
		list = append(list, b.by[name])
	}
	rank := func(x *budget) int {
		if x.quiet() {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(x, y *budget) int {
		wx, wy := x.worst(), y.worst()
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(wx.allowed-wx.unavailable, wy.allowed-wy.unavailable), cmp.Compare(wy.unavailable, wx.unavailable))
	})
	return list
}

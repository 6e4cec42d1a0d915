// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"cmp"
	"maps"
	"slices"

	"refit.dev/refit/event"
)

// landing is the sort of node that a replacement was placed on.
type landing int

const (
	onMaintained landing = iota // one that the run was done with: the pod stays
	onAwaiting                  // one that the run had still to do: the pod moves again
	onOther                     // one that is none of the run's
)

// moves counts how often pods had to move.
type moves struct {
	made     map[string]string // pods that were made during the run: UID, workload
	workload map[string]*moved
	all      moved
}

// moved is what happened to the pods of one workload.
type moved struct {
	name string
	// evictions are those accepted, again the ones of pods that had been made
	// during the run: of replacements that had to move on.
	evictions, again int
	landed           [3]int // replacements, by landing
}

// pods is how many different pods had to move.
func (m *moved) pods() int { return m.evictions - m.again }

// rate is moves per pod: 1 is the best there is.
func (m *moved) rate() float64 {
	if m.pods() == 0 {
		return 0
	}
	return float64(m.evictions) / float64(m.pods())
}

func (m *moves) init() { m.made, m.workload = map[string]string{}, map[string]*moved{} }

func (m *moves) of(workload string) *moved {
	if workload == "" {
		workload = "unknown workload"
	}
	if m.workload[workload] == nil {
		m.workload[workload] = &moved{name: workload}
	}
	return m.workload[workload]
}

func (m *moves) evicted(e event.Event) {
	if e.Pod == nil {
		return
	}
	workload, again := m.made[identity(e.Pod)]
	if e.Workload != "" {
		workload = e.Workload
	}
	w := m.of(workload)
	w.evictions++
	m.all.evictions++
	if again {
		w.again++
		m.all.again++
	}
}

func (m *moves) placed(e event.Event, on landing) {
	if e.Pod == nil {
		return
	}
	m.made[identity(e.Pod)] = e.Workload
	m.of(e.Workload).landed[on]++
	m.all.landed[on]++
}

// sorted returns the workloads with evictions, those that moved most often per pod first.
func (m *moves) sorted() []*moved {
	list := make([]*moved, 0, len(m.workload))
	for _, w := range m.workload {
		if w.evictions > 0 {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *moved) int {
		return cmp.Or(cmp.Compare(b.rate(), a.rate()), cmp.Compare(b.evictions, a.evictions), cmp.Compare(a.name, b.name))
	})
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"maps"
	"slices"
)

// shortage is a crew that is short of pods, with the first of its pods: the order
// in which crews were met decides who gets a place first.
type shortage struct {
	crew  crew
	first *member
}

// count returns what is missing of the pods that an owner replaces; first is nil
// if nothing is.
func (o *owner) count() (s shortage) {
	if !crewed(&o.facts) {
		return shortage{}
	}
	s.crew.desired = int(o.facts.Desired)
	for m := range o.members {
		if m.slot < 0 || m.owners[0] != o {
			continue
		}
		if m.pod.DeletionTimestamp == nil {
			s.crew.bound++
		}
		if s.first == nil || m.compare(s.first) < 0 {
			s.first = m
		}
	}
	if s.first == nil || s.crew.desired <= s.crew.bound {
		return shortage{}
	}
	s.crew.class = s.first.class.Staying()
	return s
}

// compare orders pods by node, and on it as a Snapshot does.
func (m *member) compare(other *member) int {
	return cmp.Or(cmp.Compare(m.node, other.node), cmp.Compare(m.pod.Namespace, other.pod.Namespace), cmp.Compare(m.pod.Name, other.pod.Name))
}

// lineUp puts the crews of the World in the order in which NewWorld would meet them.
func (k *Keeper) lineUp() {
	short := slices.SortedFunc(maps.Values(k.short), func(a, b shortage) int { return a.first.compare(b.first) })
	k.world.crews = k.world.crews[:0]
	for _, s := range short {
		k.world.crews = append(k.world.crews, s.crew)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import "slices"

// level is how evenly the pods of a topology spread constraint are spread.
type level struct {
	heights []int32 // how many domains have so many pods
	least   int32   // in the emptiest domain; means nothing if there is no domain
}

// reached is how much of a reach there is at the moment.
type reached struct {
	nodes   []int32 // by domain; shared by all boards unless taints that come and go matter
	domains int32   // that have nodes
}

// none is the height of a domain that is not there.
const none = -1

// rise tells that a domain has another number of pods.
func (l *level) rise(from, to int32) {
	if from != none {
		l.heights[from]--
	}
	if to != none {
		for int(to) >= len(l.heights) {
			l.heights = append(l.heights, 0)
		}
		l.heights[to]++
		l.least = min(l.least, to)
	}
	for int(l.least) < len(l.heights) && l.heights[l.least] == 0 {
		l.least++
	}
}

// isSpread tells whether every constraint of the class still holds with one more
// pod on the node.
func (b *Board) isSpread(x *class, node int) bool {
	for i := range x.spread {
		r := &x.spread[i]
		if b.domain(r.tally, node) < 0 {
			return false
		}
		tally := &b.shared.kinds[r.tally]
		least := b.levels[tally.level].least
		if domains := b.reached[tally.reach].domains; domains == 0 || domains < r.minDomains {
			least = 0
		}
		if b.counted(r.tally, node)+r.self-least > r.maxSkew {
			return false
		}
	}
	return true
}

// domain is that of a tally which the node is in; -1 if it is in none.
func (b *Board) domain(tally int32, node int) int32 {
	return b.shared.topologies[b.shared.kinds[tally].topology].domainOf[node]
}

// counted is how many pods of the tally there are in the node's domain.
func (b *Board) counted(tally int32, node int) int32 {
	x := &b.shared.kinds[tally]
	topology := &b.shared.topologies[x.topology]
	domain := topology.domainOf[node]
	if domain < 0 {
		return 0
	}
	if topology.sparse < 0 {
		return b.counters[x.dense+int(domain)]
	}
	list := b.lists[topology.sparse+int(domain)]
	for i := range list {
		if list[i].of == tally {
			return list[i].n
		}
	}
	return 0
}

// count counts pods of the tally that come to the node, or leave it.
func (b *Board) count(tally int32, node int, by int32) {
	x := &b.shared.kinds[tally]
	topology := &b.shared.topologies[x.topology]
	domain := topology.domainOf[node]
	if domain < 0 || x.reach >= 0 && !b.inReach(x.reach, node) {
		return
	}
	b.totals[tally] += by
	var now int32
	if topology.sparse < 0 {
		counter := &b.counters[x.dense+int(domain)]
		*counter += by
		now = *counter
	} else {
		list := &b.lists[topology.sparse+int(domain)]
		*list, now = change(*list, tally, by)
	}
	if x.level >= 0 {
		b.levels[x.level].rise(now-by, now)
	}
}

// change adds to the count of an entry, which is there as long as it is not 0.
func change(list []count, of, by int32) (changed []count, now int32) {
	for i := range list {
		if list[i].of != of {
			continue
		}
		list[i].n += by
		if now = list[i].n; now == 0 {
			last := len(list) - 1
			list[i] = list[last]
			list = list[:last]
		}
		return list, now
	}
	return append(list, count{of, by}), by
}

// inReach tells whether pods on the node count for constraints with this reach.
func (b *Board) inReach(reach int32, node int) bool {
	r := &b.shared.reaches[reach]
	return r.nodes.has(node) && (r.honours == nil || r.honours.passing[b.nodes[node].passing])
}

// SetOut cordons the node, or makes it Ready and takes the cordon away. While a
// node is out only pods that tolerate a cordon fit. In the beginning nodes are as
// they are in the snapshot: cordoned, not Ready, or neither.
func (b *Board) SetOut(node int, out bool) {
	b.catchUp()
	n, to := &b.nodes[node], int32(0)
	if out {
		to = b.shared.cordoned[n.passing]
	}
	b.setPassing(node, to)
}

// setPassing gives the node another list of taints that come and go.
func (b *Board) setPassing(node int, to int32) {
	n := &b.nodes[node]
	// Constraints that honour taints count the pods there no longer, or again.
	var lost, won []int32
	for _, i := range b.shared.honouring {
		r := &b.shared.reaches[i]
		switch before, after := r.honours.passing[n.passing], r.honours.passing[to]; {
		case !r.nodes.has(node) || before == after:
		case before:
			lost = append(lost, i)
		default:
			won = append(won, i)
		}
	}
	b.recount(node, lost, -1)
	for _, i := range lost {
		b.widen(i, node, -1)
	}
	n.passing = to
	for _, i := range won {
		b.widen(i, node, 1)
	}
	b.recount(node, won, 1)
}

// recount counts the pods of the node for the constraints with one of the reaches.
func (b *Board) recount(node int, reaches []int32, sign int32) {
	if len(reaches) == 0 {
		return
	}
	for _, pods := range b.nodes[node].pods {
		if c := Class(pods.of); c != c.Staying() {
			continue
		}
		for _, i := range b.shared.classes[pods.of>>1].countsStaying {
			if slices.Contains(reaches, b.shared.kinds[i].reach) {
				b.count(i, node, sign*pods.n)
			}
		}
	}
}

// widen adds a node, without pods that count, to a reach, or takes one away. With
// its first node a domain comes into being, with its last it ends.
func (b *Board) widen(reach int32, node int, by int32) {
	r, now := &b.shared.reaches[reach], &b.reached[reach]
	domain := b.shared.topologies[r.topology].domainOf[node]
	now.nodes[domain] += by
	from, to := int32(0), int32(none)
	switch {
	case by > 0 && now.nodes[domain] == by:
		from, to = none, 0
	case now.nodes[domain] > 0:
		return
	}
	now.domains += by
	for _, i := range r.tallies {
		b.levels[b.shared.kinds[i].level].rise(from, to)
	}
}

// catchUp makes room for classes and tallies that were added to what boards
// share, and counts what is on this one for them.
func (b *Board) catchUp() {
	if len(b.totals) == len(b.shared.kinds) && b.extras == len(b.shared.extra) {
		return
	}
	b.addExtra()
	t, old := b.shared, len(b.totals)
	b.totals = append(b.totals, make([]int32, len(t.kinds)-old)...)
	b.counters = append(b.counters, make([]int32, t.counters-len(b.counters))...)
	b.lists = append(b.lists, make([][]count, t.lists-len(b.lists))...)
	for i := len(b.reached); i < len(t.reaches); i++ {
		b.reached = append(b.reached, b.reachedNow(int32(i))) //nolint:gosec // see reach
	}
	for i := old; i < len(t.kinds); i++ {
		if x := &t.kinds[i]; x.level >= 0 {
			b.levels = append(b.levels, level{heights: []int32{b.reached[x.reach].domains}})
		}
	}
	isNew := func(tally int32) bool { return int(tally) >= old }
	for node := range b.nodes {
		for _, pods := range b.nodes[node].pods {
			x := t.classes[pods.of>>1]
			for _, i := range x.counts {
				if isNew(i) {
					b.count(i, node, pods.n)
				}
			}
			if c := Class(pods.of); c != c.Staying() {
				continue
			}
			for _, i := range x.countsStaying {
				if isNew(i) {
					b.count(i, node, pods.n)
				}
			}
		}
	}
}

func (b *Board) addExtra() {
	names := b.shared.extra
	if b.extras == len(names) {
		return
	}
	extra := make([]int64, 0, len(b.nodes)*len(names))
	for node := range b.nodes {
		extra = append(extra, b.extra[node*b.extras:(node+1)*b.extras]...)
		for _, name := range names[b.extras:] {
			extra = append(extra, extraOf(b.shared.ground.nodes[node], name))
		}
	}
	b.extra, b.extras = extra, len(names)
}

func (b *Board) reachedNow(reach int32) reached {
	r := &b.shared.reaches[reach]
	x := reached{nodes: make([]int32, b.shared.topologies[r.topology].domains)}
	for node := range b.nodes {
		if !b.inReach(reach, node) {
			continue
		}
		domain := b.shared.topologies[r.topology].domainOf[node]
		if x.nodes[domain] == 0 {
			x.domains++
		}
		x.nodes[domain]++
	}
	return x
}

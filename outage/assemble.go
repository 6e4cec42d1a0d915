// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"slices"
)

// forecast puts what was worked out together, sorted.
func (l *loss) forecast(list []judged) *Forecast {
	f := &Forecast{Pods: []Pod{}, Workloads: []Workload{}, Remarks: []string{}} // empty lists, not null
	if l.returns < never {
		f.ForSeconds = &l.returns
	}
	for i, node := range l.lost {
		f.Nodes = append(f.Nodes, l.node(i, node))
	}
	for z := range l.modes {
		if l.modes[z].Unready > l.zones[z].unready || slices.ContainsFunc(l.lost, func(node int) bool { return l.zoneOf[node] == z }) {
			mode := l.modes[z]
			if l.halted != "" {
				mode.Rate, mode.Maybe = 0, false
			}
			f.Zones = append(f.Zones, mode)
		}
	}
	slices.SortFunc(f.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(f.Zones, func(a, b Zone) int { return cmp.Compare(a.Name, b.Name) })
	for i := range list {
		f.Pods = append(f.Pods, l.pod(&list[i]))
	}
	slices.SortStableFunc(f.Pods, func(a, b Pod) int { return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name)) })
	f.Workloads = append(f.Workloads, l.workloads(list)...)
	f.Budgets = l.budgets(list)
	f.Remarks = append(f.Remarks, l.remarks(f, list)...)
	return f
}

func (l *loss) node(i, node int) Node {
	c, n := &l.clocks[i], l.s.Nodes[node]
	x := Node{Name: n.Name, Zone: l.zones[l.zoneOf[node]].name, Unreachable: c.unknown, ControlPlane: l.plane.on(n.Name), Pods: len(n.Pods), Maybe: c.maybe}
	if since := l.silentSince(node); since != nil {
		x.SilentFor = -*since
	}
	if l.halted != "" {
		x.Unreachable, x.Untainted = nil, l.halted
		return x
	}
	if m := c.tainted; m != nil && m.At < l.returns && c.removed == never {
		x.Tainted = m
	}
	switch {
	case x.Tainted == nil && c.untainted == "":
		x.Untainted = "the node is back before it is its turn"
	case x.Tainted == nil:
		x.Untainted = c.untainted
	}
	return x
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/placement"
)

// mostWarnings is how many workloads without a place are spoken of: the reason
// is sought for each of them on every node.
const mostWarnings = 50

// reasonsShown is how many reasons are given why a pod fits nowhere.
const reasonsShown = 2

// warnings are what will not go well: pods that find no place at once, and, with
// unfinished, nodes that are not finished as things are.
func (f *forecast) warnings(unfinished bool) []cluster.Finding {
	list := f.homeless()
	for _, n := range f.order.Nodes {
		v := &f.visits[n]
		if v.done != never || !unfinished {
			continue
		}
		text := "cannot be started as things are: other nodes that cannot be finished come first"
		if v.last.Why != 0 {
			text = "cannot be started as things are: " + f.Reason(f.in, v.last)
		}
		if v.start != never {
			text = "is started and not finished as things are: pods of it wait for their budgets, or for a place"
		}
		list = append(list, cluster.Finding{Severity: cluster.Warning, Code: NodeNotFinished, Object: cluster.Object{Kind: "Node", Name: f.Name(n)}, Message: text})
	}
	cluster.SortFindings(list)
	return list
}

// lack is pods of one workload that leave one node and find no place at once.
type lack struct {
	sample  *cluster.Pod
	from    int
	pods    int
	waits   time.Duration // the longest
	forEver bool
}

func (f *forecast) homeless() []cluster.Finding {
	type key struct {
		owner cluster.Object
		from  int
	}
	lacks := map[key]*lack{}
	var order []key
	for _, m := range f.moves {
		p := &f.pods[m.pod]
		if !p.replaced || m.to >= 0 && m.lands <= m.at {
			continue
		}
		k := key{p.source.Owner(), m.from}
		if lacks[k] == nil {
			lacks[k] = &lack{sample: p.source, from: m.from}
			order = append(order, k)
		}
		x := lacks[k]
		x.pods++
		x.waits = max(x.waits, m.lands-m.at)
		x.forEver = x.forEver || m.to < 0
	}
	list := []cluster.Finding{}
	if len(order) == 0 {
		return list
	}
	room := placement.New(f.snapshot)
	for _, k := range order[:min(len(order), mostWarnings)] {
		list = append(list, cluster.Finding{
			Severity: cluster.Warning, Code: NoPlace, Object: k.owner, Message: f.describe(lacks[k], room),
			Hint: "add room where its pods may run, or accept that they wait",
		})
	}
	return list
}

func (f *forecast) describe(x *lack, room *placement.Room) string {
	text := fmt.Sprintf("%d of its pods, on node %s, will find no place when they leave it", x.pods, f.Name(x.from))
	if x.pods == 1 {
		text = fmt.Sprintf("pod %s, on node %s, will find no place when it leaves it", x.sample.Name, f.Name(x.from))
	}
	switch {
	case x.forEver:
		text += ", as things are"
	default:
		text += fmt.Sprintf(" for about %s", x.waits.Round(time.Second))
	}
	if at, reasons := room.Anywhere(x.sample.Pod, []string{f.Name(x.from)}); at == "" {
		return text + ": " + strings.Join(reasons[:min(len(reasons), reasonsShown)], "; ")
	}
	return text + ": what would take them is out, or taken, at that time"
}

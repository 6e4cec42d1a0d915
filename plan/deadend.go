// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// DeadEnd says why a run in that order can empty no node at all, however long it
// waits: a blocker for each node. It is empty if a node can be emptied, and as long
// as waiting alone may help. That all slots are taken by nodes which others have
// taken out is not among the reasons.
func (w *World) DeadEnd(in *Intent, o *Order) []cluster.Finding {
	able := &Order{Eager: o.Eager, Nodes: slices.DeleteFunc(slices.Clone(o.Nodes), w.blocked)}
	if len(able.Nodes) == 0 {
		return nil
	}
	return w.imagine(in, able, w.NewState(in)).deadEnd()
}

// DeadEnd returns those of the plan's blockers that World.DeadEnd finds.
func (p *Plan) DeadEnd() []cluster.Finding {
	return slices.DeleteFunc(slices.Clone(p.Blockers), func(f cluster.Finding) bool { return f.Code != NodeNeverEmptied })
}

// obstruction is why a node is not emptied. lasting: waiting alone does not help.
type obstruction struct {
	why, hint string
	lasting   bool
}

func waitsForOthers() obstruction {
	return obstruction{why: "it waits for others that cannot be emptied", lasting: true}
}

// deadEnd is what World.DeadEnd says of a forecast.
func (f *forecast) deadEnd() []cluster.Finding {
	if f.unemptied() < len(f.order.Nodes) {
		return nil
	}
	started := len(f.order.Nodes) - f.number(func(v *visit) bool { return v.start == never })
	onlySlots := started == 0
	var list []cluster.Finding
	for _, n := range f.order.Nodes {
		v := &f.visits[n]
		x := f.unstarted(n, started)
		if v.start != never {
			x = f.stays(n)
		}
		if !x.lasting {
			return nil
		}
		onlySlots = onlySlots && v.last.Why == WaitsForSlot
		list = append(list, cluster.Finding{
			Severity: cluster.Blocker, Code: NodeNeverEmptied, Object: cluster.Object{Kind: "Node", Name: f.Name(n)},
			Message: "cannot be emptied, and waiting does not help: " + x.why, Hint: x.hint,
		})
	}
	if onlySlots {
		return nil
	}
	cluster.SortFindings(list)
	return list
}

// unstarted says what keeps a node from being started at the end of a forecast in
// which so many others were.
func (f *forecast) unstarted(n, others int) obstruction {
	last := f.visits[n].last
	switch {
	case others > 0 && len(f.in.Nodes) > f.in.MaxUnavailable, others >= f.in.MaxUnavailable:
		return waitsForOthers() // for the first one, or for a slot: nothing else was looked at lately
	case last.Why == WaitsForBudget:
		return f.exhaustion(last.subject, true)
	case last.Why == WaitsForQuorum:
		x := f.absence(last.subject, f.sets[last.subject].missingOn[n])
		if !x.lasting && f.keepsMember(last.subject) {
			return waitsForOthers()
		}
		return x
	case others > 0:
		return waitsForOthers()
	}
	x := obstruction{why: f.Reason(f.in, last), lasting: true}
	switch last.Why {
	case WaitsForSlot:
		x.hint = "bring back the nodes that are out, or allow more at once"
	case WaitsForZone:
		x.why += ", and others of its zone are out already"
		x.hint = "bring back those that are out, or allow more of a zone at once"
	case WaitsForControlPlane:
		x.why += ", and another one is out already"
		x.hint = "bring back the control-plane node that is out"
	default:
		x.lasting = false
	}
	return x
}

// stays says what keeps pods on a node that was started.
func (f *forecast) stays(n int) obstruction {
	for _, i := range f.nodes[n].pods {
		if x := f.inQueue(i); x.lasting {
			return x
		}
	}
	return obstruction{}
}

// keepsMember tells whether a member of a quorum set stays on a node that was started.
func (f *forecast) keepsMember(q int) bool {
	for _, n := range f.order.Nodes {
		if f.visits[n].start != never && slices.ContainsFunc(f.nodes[n].pods, func(i int) bool { return f.pods[i].set == q && f.inQueue(i).lasting }) {
			return true
		}
	}
	return false
}

// inQueue says what a pod waits for that is to leave its node.
func (f *forecast) inQueue(i int) obstruction {
	switch p := &f.pods[i]; {
	case p.budget >= 0 && slices.Contains(f.atBudget[p.budget], i):
		return f.exhaustion(p.budget, p.healthy)
	case p.set >= 0 && slices.Contains(f.atSet[p.set], i):
		return f.absence(p.set, 0)
	}
	return obstruction{}
}

// exhaustion explains a budget that refuses a pod, healthy or not, at the end.
func (f *forecast) exhaustion(b int, healthy bool) obstruction {
	r := &f.budgets[b]
	s := &r.source.Status
	room := r.allowed + budget.Recovering(r.source, f.snapshot.Time) + f.placeless(func(p *pod) bool { return p.budget == b })
	x := obstruction{
		lasting: s.ObservedGeneration >= r.source.Generation && r.refuses(room, healthy),
		why: fmt.Sprintf("budget %s/%s has no room for its pods: %d healthy of %d expected, %d must stay healthy",
			r.source.Namespace, r.source.Name, s.CurrentHealthy, s.ExpectedPods, s.DesiredHealthy),
		hint: "repair or remove the pods that are not ready, or let the budget allow more",
	}
	if sick := f.unready(r.source.Pods); sick != "" {
		x.why += "; used up by " + sick
	}
	return x
}

// absence explains a quorum set that can spare nobody at the end, but for so many
// that are on the node itself.
func (f *forecast) absence(q, here int) obstruction {
	set := &f.sets[q]
	back := budget.Returning(set.source, f.snapshot.Time) + f.placeless(func(p *pod) bool { return p.set == q })
	x := obstruction{
		lasting: set.missing-back > here,
		why:     fmt.Sprintf("a member of %s is away", set.source.Object()),
		hint:    "repair the member that is away",
	}
	if sick := f.unready(set.source.Pods); sick != "" {
		x.why += ": " + sick
	}
	return x
}

// unready names those of the pods that are not healthy, as they are when the run begins.
func (f *forecast) unready(pods []*cluster.Pod) string {
	var sick []string
	for _, p := range pods {
		if why, _ := budget.Unready(p.Pod, f.snapshot.Time); why != "" && !budget.Finished(p.Pod) {
			sick = append(sick, fmt.Sprintf("%s (%s)", p.Name, why))
		}
	}
	return phrase.Few(sick, fewNames)
}

// placeless counts pods that have left a node and found no place. There may be one
// in time, if somebody adds nodes or if they take the place of less important pods:
// nothing of that is known here.
func (f *forecast) placeless(which func(*pod) bool) int {
	n := 0
	for _, i := range f.pending {
		if which(&f.pods[i]) {
			n++
		}
	}
	return n
}

// fewNames is how many pods or nodes a sentence names.
const fewNames = 5

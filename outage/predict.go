// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/placement"
)

// Predict says what becomes of the pods of the nodes in r if they go away at the
// moment of the snapshot. Nodes that the snapshot does not know, none at all and
// a duration that is negative or longer than Longest are errors.
func Predict(s *cluster.Snapshot, p Parameters, r Request) (*Forecast, error) {
	if err := r.check(s); err != nil {
		return nil, err
	}
	g := newGround(s, p)
	lost := make([]int, 0, len(r.Nodes))
	for _, name := range slices.Compact(slices.Sorted(slices.Values(r.Nodes))) {
		lost = append(lost, g.byName[name])
	}
	slices.Sort(lost)
	l := g.lose(lost, r)
	return l.forecast(l.fates()), nil
}

func (r *Request) check(s *cluster.Snapshot) error {
	if len(r.Nodes) == 0 {
		return hint.Wrap(errors.New("no node was named that could go away"), "name one or more nodes")
	}
	for _, name := range slices.Sorted(slices.Values(r.Nodes)) {
		if s.Node(name) == nil {
			return hint.Wrap(fmt.Errorf("there is no node %q", name), "look at the names: kubectl get nodes")
		}
	}
	return r.checkFor()
}

func (r *Request) checkFor() error {
	if r.For < 0 || r.For > Longest {
		return hint.Wrap(fmt.Errorf("nodes cannot be away for %s", span(r.For)), "say a duration of up to %s; without one they never come back", span(Longest))
	}
	return nil
}

// lose works out what happens to the nodes; fates does it for their pods.
func (g *ground) lose(lost []int, r Request) *loss {
	l := &loss{ground: g, lost: lost, names: map[string]bool{}, heard: r.Heard, quotas: r.Quotas, returns: never}
	if r.For > 0 {
		l.returns = r.For.Seconds()
	}
	for _, node := range lost {
		l.names[g.s.Nodes[node].Name] = true
	}
	l.standing()
	l.tell()
	return l
}

// standing works out what is left of the control plane. What is on a node that is silent
// already is not lost with it: the API server has answered since.
func (l *loss) standing() {
	going := make(map[string]bool, len(l.names))
	for _, node := range l.lost {
		if n := l.s.Nodes[node]; l.silentSince(node) == nil && !cluster.Lost(n.Node) {
			going[n.Name] = true
		}
	}
	var silent []string
	for name := range l.heard {
		if node, known := l.byName[name]; known && l.silentSince(node) != nil {
			silent = append(silent, name)
		}
	}
	plane := l.plane.without(silent)
	l.halted, l.unscheduled = plane.halted(going), plane.unscheduled(going)
}

// fates gives each pod of the lost nodes its fate, in the order of the pods'
// deletions; those that are not deleted come last. The board is left as it is then.
func (l *loss) fates() []judged {
	var list []judged
	for i, node := range l.lost {
		c := &l.clocks[i]
		phases := l.phases(node, c)
		for _, p := range l.s.Nodes[node].Pods {
			j := judged{pod: p, clock: i, when: l.deletion(p, c, phases), place: -1, later: -1}
			j.maybe = c.maybe && l.byChance(p, c, &j.when)
			list = append(list, j)
		}
	}
	byTime := func(a, b judged) int {
		return cmp.Or(cmp.Compare(at(a.when.at), at(b.when.at)), cmp.Compare(a.pod.Namespace, b.pod.Namespace), cmp.Compare(a.pod.Name, b.pod.Name))
	}
	slices.SortStableFunc(list, byTime)
	l.holdBack(list)
	slices.SortStableFunc(list, byTime)
	for _, node := range l.lost {
		l.close(node)
	}
	jobs := map[*cluster.Workload]*tries{}
	for i := range list {
		l.settle(&list[i], jobs)
	}
	l.replaceLater(list)
	l.failed(list, jobs)
	for _, t := range jobs {
		l.backOff(t)
	}
	l.ifOff(list, jobs)
	l.comeBack(list)
	return list
}

func at(m *Moment) float64 {
	if m == nil {
		return never
	}
	return m.At
}

// close keeps new pods from a lost node: it gets the taints of one that is Unknown.
func (l *loss) close(node int) {
	l.landing.nodes.Remove(node)
	now := l.well(node)
	now.Spec.Taints = append(now.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule})
	l.landing.board.Renew(node, &now)
}

// well is a lost node without the taints of one that is not.
func (l *loss) well(node int) corev1.Node {
	now := *l.s.Nodes[node].Node
	now.Spec.Taints = slices.DeleteFunc(slices.Clone(now.Spec.Taints), func(t corev1.Taint) bool {
		return cluster.Passing(&t) && t.Key != corev1.TaintNodeUnschedulable
	})
	return now
}

// comeBack finds places for the replacements that had none, when the nodes are back: they
// have been Pending, and come before what is made then.
func (l *loss) comeBack(list []judged) {
	if l.returns == never || !slices.ContainsFunc(list, func(j judged) bool { return j.renewed && j.place < 0 }) {
		return
	}
	for _, node := range l.lost {
		now := l.well(node)
		l.landing.board.Renew(node, &now)
		l.landing.nodes.Add(node)
	}
	for i := range list {
		if j := &list[i]; j.when.at != nil {
			l.landing.take(l.landing.board.Class(j.pod).Leaving(), l.lost[j.clock])
		}
	}
	for i := range list {
		if j := &list[i]; j.renewed && j.place < 0 {
			j.later = l.landing.place(l.landing.board.Class(j.pod))
		}
	}
}

// reopen takes everything back that a loss did to the board.
func (l *loss) reopen() {
	l.landing.undo()
	for _, node := range l.lost {
		l.landing.board.Renew(node, l.s.Nodes[node].Node)
		l.landing.nodes.Add(node)
	}
}

// settle decides on a pod and finds a place for what replaces it.
func (l *loss) settle(j *judged, jobs map[*cluster.Workload]*tries) {
	p := j.pod
	j.fate, j.why = j.when.fate, ""
	switch {
	case budget.Finished(p.Pod):
		j.fate, j.when.why = FateFinished, "it had ended before"
		if j.when.at != nil {
			j.why = "its object is deleted like the others"
		}
		return
	case j.when.at == nil:
		return
	}
	l.decide(j, jobs)
	l.leave(j)
	if j.renewed && !l.unscheduled {
		j.place = l.landing.place(l.landing.board.Class(p))
	}
}

// leave has a deleted pod stand on its node only as one that is Terminating, which still keeps
// others away that may not be near it, or not at all if what is made in its place is made later
// than its object is removed.
func (l *loss) leave(j *judged) {
	p, node := j.pod, l.lost[j.clock]
	c := l.landing.board.Class(p)
	first := l.goesFirst(j)
	switch {
	case p.DeletionTimestamp != nil && first:
		l.landing.take(c.Leaving(), node)
	case p.DeletionTimestamp != nil:
	case l.landing.take(c, node) && !first:
		l.landing.put(c.Leaving(), node)
	}
}

// goesFirst tells whether the object of a deleted pod is gone before another one is made.
func (l *loss) goesFirst(j *judged) bool {
	gone, _ := l.removed(j)
	return gone != nil && (j.after || vanishes(j.pod))
}

// replaceLater tries again to place what found no place because of pods of which nothing is
// left some time later.
func (l *loss) replaceLater(list []judged) {
	var last *Moment
	for i := range list {
		j := &list[i]
		gone, _ := l.removed(j)
		if gone == nil || j.fate == FateFinished {
			continue
		}
		if !l.goesFirst(j) {
			l.landing.take(l.landing.board.Class(j.pod).Leaving(), l.lost[j.clock])
		}
		if last == nil || gone.At > last.At {
			last = gone
		}
	}
	if last == nil || l.unscheduled {
		return
	}
	for i := range list {
		j := &list[i]
		if !j.renewed || j.place >= 0 {
			continue
		}
		if j.place = l.landing.place(l.landing.board.Class(j.pod)); j.place >= 0 && (j.starts == nil || last.At > j.starts.At) {
			j.startsFrom(last)
		}
	}
}

// pod puts what was worked out into words.
func (l *loss) pod(j *judged) Pod {
	p := j.pod
	x := Pod{
		Namespace: p.Namespace, Name: p.Name, Node: p.Host.Name, Fate: j.fate, Deleted: j.when.at, Toleration: j.when.patience, Close: j.when.close,
		Maybe:  j.maybe && j.fate != FateFinished,
		Reason: strings.Join(slices.DeleteFunc([]string{j.when.why, j.why}, func(s string) bool { return s == "" }), "; "),
	}
	if n := len(p.Controllers); n > 0 {
		x.Owner = p.Controllers[n-1].Kind + "/" + p.Controllers[n-1].Name
	}
	if x.Deleted != nil {
		x.AtSecond = &x.Deleted.At
	}
	switch {
	case x.Maybe && x.Deleted != nil:
		x.Reason += "; whether its node is tainted at all is chance"
	case x.Maybe:
		x.Reason += "; but whether its node is one of those that are tainted before is chance, and then it is deleted"
	}
	if x.IfOff = j.off; j.off != "" {
		x.Reason += "; if its machine was off: " + j.offWhy
	}
	x.Volumes = l.volumes(j)
	if j.renewed {
		x.Replacement = l.replacement(j, x.Volumes)
	}
	return x
}

// replacement says where the pod goes that takes another one's place, and when it starts.
func (l *loss) replacement(j *judged, volumes []Volume) *Replacement {
	back := ""
	if j.later >= 0 {
		back = l.s.Nodes[j.later].Name
	}
	if l.unscheduled {
		return &Replacement{Waits: "no " + scheduler + " is left: it is Pending until one is back", WhenBack: back}
	}
	if j.place < 0 {
		return &Replacement{Why: l.whyNowhere(j.pod), WhenBack: back}
	}
	r := &Replacement{Fits: true, Node: l.s.Nodes[j.place].Name, Starts: j.starts}
	for _, v := range volumes {
		switch {
		case v.Detached == nil:
			r.Starts, r.Waits = nil, fmt.Sprintf("its volume %s stays attached to %s", cmp.Or(v.Claim, v.Name), j.pod.Host.Name)
			return r
		case r.Starts == nil || v.Detached.At > r.Starts.At:
			r.Starts = ptr.To(*v.Detached)
		}
	}
	return r
}

// mostReasons is how many reasons are told why a pod fits nowhere.
const mostReasons = 3

// whyNowhere gives the reasons of the planner's judgement, with nobody moved yet.
// Pods of one class have the same.
func (l *loss) whyNowhere(p *cluster.Pod) []string {
	c := l.landing.board.Class(p)
	if why, known := l.nowhere[c]; known {
		return why
	}
	if l.room == nil {
		l.room = placement.New(l.s)
	}
	names := make([]string, len(l.lost))
	for i, node := range l.lost {
		names[i] = l.s.Nodes[node].Name
	}
	node, why := l.room.Anywhere(p.Pod, names)
	if node != "" {
		why = []string{"the replacements of other pods take the room that there was, or the pod itself is in their way until it is gone"}
	}
	if more := len(why) - mostReasons; more > 0 {
		why = append(why[:mostReasons:mostReasons], phrase.Count(more, "reason")+" more")
	}
	if l.nowhere == nil {
		l.nowhere = map[placement.Class][]string{}
	}
	l.nowhere[c] = why
	return why
}

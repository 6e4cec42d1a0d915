// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// remarks say what the lists do not.
func (l *loss) remarks(f *Forecast, list []judged) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if l.halted != "" {
		say("%s: until one is back nothing is deleted, replaced or scheduled anywhere in the cluster", l.halted)
	} else if gone := l.plane.gone(cluster.ControllerManager, l.names); gone > 0 && l.plane.leaderless(l.names) {
		left, _ := l.plane.left(cluster.ControllerManager, l.names)
		say("%d of %d instances of %s %s lost: if the leader is among them another one takes over in about 15s, and counts the silence of nodes from there on, "+
			"which makes everything as late as the latest times say", gone, left+gone, cluster.ControllerManager, phrase.Plural(gone, "is", "are"))
	}
	if l.unscheduled && l.halted == "" {
		say("no %s is left: new pods are Pending until one is back", scheduler)
	}
	if l.p.LeaseRenewal.Value > l.p.GracePeriod.Value {
		say("kubelets renew their leases every %s (--%s), but may be silent for %s only (--%s): nodes become Unknown while they work",
			span(l.p.LeaseRenewal.Value), flagLeaseRenewal, span(l.p.GracePeriod.Value), flagGracePeriod)
	}
	out = append(out, l.missing()...)
	out = append(out, l.already()...)
	counts, deleted := f.Counts(), 0
	for i := range list {
		if j := &list[i]; j.when.at != nil && j.fate != FateFinished && j.pod.DeletionTimestamp == nil {
			deleted++
		}
	}
	if deleted > 0 {
		because := "because of a taint"
		if l.p.EvictionTimeout != nil {
			because = "because their node is lost"
		}
		say("pods that are deleted %s are not evicted: disruption budgets are not asked%s", because, below(f))
	}
	out = append(out, l.shortOf(list)...)
	if len(f.Workloads) > 0 && l.halted == "" {
		if first := earliestUnknown(f); first > 0 {
			say("until a node is Unknown, at %s or so, its pods count as Ready, and Services go on sending to them", clockTime(first))
		}
	}
	out = append(out, l.chance(f)...)
	out = append(out, offRemarks(f)...)
	if deleted > 0 {
		out = append(out, l.homecoming(f, counts)...)
	}
	return out
}

// already says what is so before the loss.
func (l *loss) already() (out []string) {
	for _, node := range l.lost {
		n := l.s.Nodes[node]
		if since := l.silentSince(node); since != nil {
			from := "silent"
			if _, known := l.heard[n.Name]; !known {
				from = "Unknown"
			}
			out = append(out, fmt.Sprintf("%s has been %s for %s already, which is counted", n.Name, from, clockTime(-*since)))
		}
		if _, off := l.p.off(podCollector); saidOff(n) && !off && l.halted == "" {
			out = append(out, fmt.Sprintf("%s is said to be out of service (taint %s): as long as it is not Ready, what is Terminating there is removed within %s, "+
				"and its volumes are detached, which is counted", n.Name, corev1.TaintNodeOutOfService, span(collects)))
		}
	}
	for _, node := range l.lost {
		if n := l.s.Nodes[node]; l.halted == "" && l.silentSince(node) != nil && len(l.plane.on(n.Name)) > 0 {
			out = append(out, fmt.Sprintf("%s has %s, but the API server has answered since it fell silent: the control plane is taken to go on as it does",
				n.Name, strings.Join(l.plane.on(n.Name), ", ")))
		}
	}
	return out
}

// missing says what nobody does because its controller does not run.
func (l *loss) missing() (out []string) {
	for _, name := range l.p.Off.Value {
		var what string
		switch name {
		case nodeLifecycle:
			what = "silent nodes stay what they are: they are not tainted, their pods count as Ready, and new pods are sent there, too, where they do not start; what is said of replacements is as if none were"
		case taintEviction:
			what = "no pod is deleted because of a taint"
		case podCollector:
			what = "what is Terminating on a node that is deleted, or said to be out of service, stays"
		case attachDetach:
			what = "no volume is detached"
		default:
			what = "it makes no pods in the place of others"
		}
		why, _ := l.p.off(name)
		out = append(out, why+": "+what)
	}
	return out
}

// Counts is how many pods have which fate.
func (f *Forecast) Counts() map[Fate]int {
	counts := map[Fate]int{}
	for i := range f.Pods {
		counts[f.Pods[i].Fate]++
	}
	return counts
}

// below names workloads that get below what their budget asks for.
func below(f *Forecast) string {
	var names []string
	for i := range f.Workloads {
		if w := &f.Workloads[i]; w.Required > 0 && w.Least() < w.Required {
			names = append(names, w.Kind+" "+w.Namespace+"/"+w.Name)
		}
	}
	for i := range f.Budgets {
		if b := &f.Budgets[i]; least(b.Before, b.Steps) < b.Required {
			names = append(names, "what shares the budget "+b.Namespace+"/"+b.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	const most = 5
	return fmt.Sprintf("; %s %s below what theirs asks for", phrase.Few(names, most), phrase.Plural(len(names), "gets", "get"))
}

// Least is the smallest number of healthy pods that a workload has.
func (w *Workload) Least() int {
	return least(w.Before, w.Steps)
}

func least(before int, steps []Step) int {
	n := before
	for _, s := range steps {
		n = min(n, s.Healthy)
	}
	return n
}

func earliestUnknown(f *Forecast) float64 {
	first := never
	for i := range f.Nodes {
		if m := f.Nodes[i].Unreachable; m != nil {
			first = min(first, m.At)
		}
	}
	if first == never {
		return 0
	}
	return first
}

// chance says what nobody can know.
func (l *loss) chance(f *Forecast) []string {
	var out []string
	for z := range l.modes {
		if l.queues[z] && l.halted == "" {
			out = append(out, l.chanceIn(z)...)
		}
	}
	if l.p.EvictionRate.Value == 0 && l.halted == "" && slices.ContainsFunc(l.clocks, func(c clock) bool { return c.unknown != nil && c.tainted == nil }) {
		// NewTokenBucketRateLimiter begins with a token, and nobody takes it away.
		out = append(out, fmt.Sprintf("with a rate of 0 (--%s) the first node of a zone is tainted nevertheless, and its pods are deleted, if there was none since kube-controller-manager began", flagEvictionRate))
	}
	if l.slow >= 1 && l.halted == "" && !l.all {
		out = append(out, fmt.Sprintf("kube-controller-manager makes %g calls a second (--%s), and sets all pods of a silent node to not Ready before it looks for the next ones: "+
			"which nodes it finds first is chance, and a node may be found up to %s later because of the others", l.p.ClientRate.Value, flagClientRate, clockTime(l.slow)))
	}
	if l.late >= 1 {
		out = append(out, fmt.Sprintf("kube-controller-manager makes %g calls a second (--%s), and needs %d to delete a pod: some are deleted up to %s later than they are due, and which ones is chance",
			l.p.ClientRate.Value, flagClientRate, callsPerDeletion, clockTime(l.late)))
	}
	if slices.ContainsFunc(f.Pods, func(p Pod) bool { return p.Maybe }) {
		out = append(out, "where chance decides which nodes are tainted, what becomes of their pods, and what workloads have left, is told for one of the ways it may go (maybe)")
	}
	close := 0
	for i := range f.Pods {
		if f.Pods[i].Close {
			close++
		}
	}
	if close > 0 {
		out = append(out, fmt.Sprintf("for %s the return and the deletion are so close to each other that it may come the other way", phrase.Count(close, "pod")))
	}
	return out
}

// chanceIn is that of a zone of which several nodes wait for their taints.
func (l *loss) chanceIn(z int) (out []string) {
	mode := &l.modes[z]
	zone := "of zone " + mode.Name
	switch {
	case mode.Name == "" && len(l.zones) > 1:
		zone = "without a zone"
	case mode.Name == "":
		zone = "of the cluster"
	}
	switch {
	case mode.Mode == ModeAll && l.spared[z] > 0:
		return []string{fmt.Sprintf("all pods of the lost nodes become not Ready before it is known that all zones are lost, which takes %s at %g calls a second (--%s): until then nodes %s are tainted, "+
			"and those of the last look, %d or so, keep the taint, so that their pods are deleted after all; which ones is a matter of chance",
			clockTime(l.lookTime()), l.p.ClientRate.Value, flagClientRate, zone, l.spared[z])}
	case mode.Mode == ModeAll:
		return []string{fmt.Sprintf("nodes %s that are found silent before the last one is may be tainted until then: pods that tolerate it for less than some seconds may be deleted; "+
			"a node that is tainted during the very look at which the last one is found silent keeps the taint, and its pods are deleted after all: which one, if any, is a matter of chance", zone)}
	case l.stuck[z]:
		return nil
	case mode.Mode == ModePartial && mode.Rate == 0:
		tainted, members := 0, 0
		for i := range l.clocks {
			if c := &l.clocks[i]; l.zoneOf[l.lost[i]] == z && !c.before && (c.tainted == nil || c.tainted.At > 0) {
				members++
				if c.tainted != nil {
					tainted++
				}
			}
		}
		many := "one or two nodes"
		if tainted > 1 {
			many = fmt.Sprintf("%d of %s or so", tainted, phrase.Count(members, "node"))
		}
		return []string{fmt.Sprintf("%s %s are tainted before so many are known to be silent that it stops; which ones is a matter of chance", many, zone)}
	case mode.Rate <= 0:
		return nil
	}
	out = append(out, fmt.Sprintf("the nodes %s are tainted one after the other, one every %s, in an order that nobody can tell", zone, clockTime(1/mode.Rate)))
	if q := newQueue(&l.p, mode.Nodes, mode.Nodes-1); mode.Mode == ModeFull && q.mode() == ModePartial && q.rate == 0 && mode.Rate == 1 {
		out = append(out, fmt.Sprintf("if some nodes %s are found silent before the last one is, so that it is a partial disruption for a moment, it stops for good: with a rate of exactly 1 (--%s) "+
			"evictions do not begin again", zone, flagEvictionRate))
	}
	return out
}

// lookTime is how long the looks take that find the lost nodes silent.
func (l *loss) lookTime() (seconds float64) {
	for i := range l.looks {
		seconds += l.looks[i].end - l.looks[i].start
	}
	return seconds
}

// homecoming says what is on the nodes when they are back.
func (l *loss) homecoming(f *Forecast, counts map[Fate]int) []string {
	one := len(f.Nodes) == 1
	back := "when "
	if l.returns == never {
		back = "if ever "
	}
	back += map[bool]string{true: "it is back", false: "they are back"}[one]
	nodes, its := "the node is", "its kubelet ends"
	if !one {
		nodes, its = "the nodes are", "their kubelets end"
	}
	var kept []string
	for _, fate := range []Fate{FateRestarts, FateStays} {
		if n := counts[fate]; n > 0 {
			kept = append(kept, fmt.Sprintf("%d that %s", n, map[Fate]string{FateRestarts: phrase.Plural(n, "restarts", "restart"), FateStays: phrase.Plural(n, "stays", "stay")}[fate]))
		}
	}
	but := ""
	if len(kept) > 0 {
		but = " but for the pods that were not deleted: " + strings.Join(kept, ", ")
	}
	out := []string{fmt.Sprintf("%s, %s empty%s; %s what was deleted, and nothing moves back by itself", back, nodes, but, its)}
	var waiting []string
	for i := range f.Pods {
		if r := f.Pods[i].Replacement; r != nil && r.WhenBack != "" {
			waiting = append(waiting, f.Pods[i].Namespace+"/"+f.Pods[i].Name)
		}
	}
	if n := len(waiting); n > 0 {
		const most = 5
		out = append(out, fmt.Sprintf("%s that %s Pending for want of room %s then, in the place of %s", phrase.Count(n, "replacement"),
			phrase.Plural(n, "is", "are"), phrase.Plural(n, "starts", "start"), phrase.Few(waiting, most)))
	}
	if _, off := l.p.off(podCollector); off && counts[FateStuck] > 0 {
		out = append(out, "what is stuck goes on when the node is back")
	} else if counts[FateStuck] > 0 {
		out = append(out, "what is stuck goes on when the node is back, when its Node object is deleted, or when the node is said to be out of service"+
			" (taint node.kubernetes.io/out-of-service, only if the machine is off)")
	}
	return out
}

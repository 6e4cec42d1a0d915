// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"fmt"
	"strings"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
)

// remarks say what the lists do not.
func (l *loss) remarks(f *Forecast, list []judged) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if l.halted != "" {
		say("%s: until one is back nothing is deleted, replaced or scheduled anywhere in the cluster", l.halted)
	} else if left, of := l.plane.left(cluster.ControllerManager, l.names); left < of {
		say("%d of %d instances of %s %s lost: if the leader is among them another one takes over in about 15s, and counts the silence of nodes from there on",
			of-left, of, cluster.ControllerManager, phrase.Plural(of-left, "is", "are"))
	}
	if l.plane.unscheduled(l.names) {
		say("no %s is left: new pods are Pending until one is back", scheduler)
	}
	counts, deleted := f.Counts(), 0
	for i := range list {
		if j := &list[i]; j.when.at != nil && j.fate != FateFinished && j.pod.DeletionTimestamp == nil {
			deleted++
		}
	}
	if deleted > 0 {
		say("pods that are deleted because of a taint are not evicted: disruption budgets are not asked%s", below(f))
	}
	if len(f.Workloads) > 0 && l.halted == "" {
		if first := earliestUnknown(f); first > 0 {
			say("until a node is Unknown, at %s or so, its pods count as Ready, and Services go on sending to them", clockTime(first))
		}
	}
	out = append(out, l.chance(f)...)
	if deleted > 0 {
		out = append(out, l.homecoming(f, counts)...)
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
	if len(names) == 0 {
		return ""
	}
	const most = 5
	return fmt.Sprintf("; %s %s below what theirs asks for", phrase.Few(names, most), phrase.Plural(len(names), "gets", "get"))
}

// Least is the smallest number of healthy pods that a workload has.
func (w *Workload) Least() int {
	least := w.Before
	for _, s := range w.Steps {
		least = min(least, s.Healthy)
	}
	return least
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
		mode := &l.modes[z]
		if !l.queues[z] || l.halted != "" {
			continue
		}
		zone := "of zone " + mode.Name
		if mode.Name == "" {
			zone = "of the cluster"
		}
		switch mode.Mode {
		case ModeAll:
			// handleDisruption goes by the list of nodes that was made before the look, and
			// RemoveTaintOffNode leaves alone what has no taint in it.
			out = append(out, fmt.Sprintf("nodes %s that are found silent before the last one is may be tainted until then: pods that tolerate it for less than some seconds may be deleted; "+
				"a node that is tainted during the very look at which the last one is found silent keeps the taint, and its pods are deleted after all: which one, if any, is a matter of chance", zone))
		case ModePartial:
			if mode.Rate == 0 {
				out = append(out, fmt.Sprintf("one or two nodes %s are tainted before so many are known to be silent that it stops; which ones is a matter of chance", zone))
				continue
			}
			fallthrough
		case ModeNormal, ModeFull:
			out = append(out, fmt.Sprintf("the nodes %s are tainted one after the other, one every %s, in an order that nobody can tell", zone, clockTime(1/mode.Rate)))
		}
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

// homecoming says what is on the nodes when they are back.
func (l *loss) homecoming(f *Forecast, counts map[Fate]int) []string {
	node := "when it is back, the node"
	if len(f.Nodes) > 1 {
		node = "when they are back, each node"
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
	out := []string{fmt.Sprintf("%s is empty%s; its kubelet ends what was deleted, and nothing moves back by itself", node, but)}
	if counts[FateStuck] > 0 {
		out = append(out, "what is stuck goes on when the node is back, when its Node object is deleted, or when the node is said to be out of service"+
			" (taint node.kubernetes.io/out-of-service, only if the machine is off)")
	}
	return out
}

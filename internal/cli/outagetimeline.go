// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/outage"
)

// happening is a line of the timeline, for all that is alike.
type happening struct {
	from, to float64
	order    int // of those at the same moment
	text     string
	details  []string
}

// timeline says what happens when.
func (v outageView) timeline(b *strings.Builder, f *outage.Forecast) {
	list := slices.Concat(v.onNodes(f), onPods(f), onReturn(f))
	slices.SortStableFunc(list, func(x, y happening) int { return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.order, y.order)) })
	b.WriteString("\n")
	width := 0
	for i := range list {
		width = max(width, len(when(&list[i])))
	}
	indent := strings.Repeat(" ", width+2)
	for i := range list {
		h := &list[i]
		b.WriteString(v.Fold(fmt.Sprintf("%*s  %s", width, when(h), h.text), indent))
		for _, detail := range h.details {
			b.WriteString(v.Fold(indent+"  "+detail, indent+"    "))
		}
	}
}

func when(h *happening) string {
	from, to := moment(h.from), moment(h.to)
	if from == to {
		return from
	}
	return from + " to " + to
}

// moment is when something is; what was before is so long ago.
func moment(at float64) string {
	if at < -0.5 {
		return rounded(-at) + " ago"
	}
	return rounded(at)
}

// widen makes a happening reach to a moment.
func (h *happening) widen(at float64) { h.from, h.to = min(h.from, at), max(h.to, at) }

func begin(order int) happening { return happening{from: math.Inf(1), to: math.Inf(-1), order: order} }

// margin is how far a moment may be off, in words.
func margin(moments []*outage.Moment) string {
	earliest, latest := math.Inf(1), math.Inf(-1)
	for _, m := range moments {
		earliest, latest = min(earliest, m.Earliest), max(latest, m.Latest)
	}
	if moment(earliest) == moment(latest) {
		return ""
	}
	return fmt.Sprintf(" (somewhere from %s to %s)", moment(earliest), moment(latest))
}

// onNodes tells of the nodes: those that are silent already, and those that go away now.
func (v outageView) onNodes(f *outage.Forecast) []happening {
	var before, now []*outage.Node
	for i := range f.Nodes {
		if n := &f.Nodes[i]; n.SilentFor > 0 {
			before = append(before, n)
		} else {
			now = append(now, n)
		}
	}
	return append(v.onSome(before), v.onSome(now)...)
}

func (v outageView) onSome(nodes []*outage.Node) []happening {
	if len(nodes) == 0 {
		return nil
	}
	gone := begin(0)
	pods := 0
	unknown, tainted := begin(1), begin(2)
	var unknowns, taints []*outage.Moment
	why := map[string]int{}
	maybe := false
	for _, n := range nodes {
		gone.widen(-n.SilentFor)
		pods += n.Pods
		if len(n.ControlPlane) > 0 {
			gone.details = append(gone.details, n.Name+" is of the control plane: "+strings.Join(n.ControlPlane, ", "))
		}
		maybe = maybe || n.Maybe
		if n.Unreachable != nil {
			unknown.widen(n.Unreachable.At)
			unknowns = append(unknowns, n.Unreachable)
		}
		if n.Tainted != nil {
			tainted.widen(n.Tainted.At)
			taints = append(taints, n.Tainted)
		} else {
			why[n.Untainted]++
		}
	}
	fell := areSilent(len(nodes))
	if nodes[0].SilentFor > 0 {
		fell = phrase.Count(len(nodes), "node") + " fell"
	}
	gone.text = fmt.Sprintf("%s silent, and with %s %s", fell, phrase.Plural(len(nodes), "it", "them"), somePods(pods))
	list := []happening{gone}
	if len(unknowns) > 0 {
		unknown.text = fmt.Sprintf("Unknown: %s found silent, and the pods there count as not Ready%s", phrase.Count(len(unknowns), "node"), margin(unknowns))
		list = append(list, unknown)
	}
	chance := ""
	if maybe {
		chance = " or so, and which is chance"
	}
	if len(taints) > 0 {
		what := "tainted unreachable: %s%s; from here on tolerations count%s"
		if v.old() {
			what = "given up: %s%s, so long after Unknown; the pods there are deleted%s"
		}
		tainted.text = fmt.Sprintf(what, phrase.Count(len(taints), "node"), chance, margin(taints))
		list = append(list, tainted)
	}
	for reason, n := range why {
		at := 0.0
		if len(unknowns) > 0 {
			at = max(0, unknown.to)
		}
		list = append(list, happening{from: at, to: at, order: 3, text: fmt.Sprintf("not tainted: %s%s: %s", phrase.Count(n, "node"), chance, reason)})
	}
	slices.SortFunc(list, func(x, y happening) int { return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.text, y.text)) })
	return list
}

// old tells whether pods are deleted as by servers that know no evictions by taints.
func (v outageView) old() bool {
	return slices.ContainsFunc(v.Parameters, func(r outage.Row) bool { return r.Name == "pod-eviction-timeout" })
}

// somePods counts pods, of which there may be none.
func somePods(n int) string {
	if n == 0 {
		return "no pods"
	}
	return phrase.Count(n, "pod")
}

func areSilent(nodes int) string {
	if nodes == 1 {
		return "the node is"
	}
	return fmt.Sprintf("%d nodes are", nodes)
}

// fateTexts say what a fate is.
var fateTexts = map[outage.Fate]string{
	outage.FateLost:     "lost for good",
	outage.FateFailsJob: "lost, and the Job fails with it",
	outage.FateStuck:    "deleted, but stuck Terminating, and not replaced",
	outage.FateReplaced: "deleted and replaced",
	outage.FateUnwanted: "deleted, and no more wanted",
	outage.FateRestarts: "not deleted, because the node is back in time",
	outage.FateStays:    "not deleted, however long it takes",
	outage.FateFinished: "had ended before",
}

// offTexts say what becomes of pods that are not deleted if their machine was off.
var offTexts = map[outage.Fate]string{
	outage.FateLost:     ", but lost for good if its machine was off",
	outage.FateFailsJob: ", but lost with its Job if its machine was off",
	outage.FateReplaced: ", but ended, and then replaced, if its machine was off",
}

// chanceText is for pods of which chance decides whether they are deleted.
var chanceText = map[bool]string{true: ", if chance has their node tainted"}

// onPods tells of the pods that are deleted, those together that have the same
// fate for the same patience.
func onPods(f *outage.Forecast) []happening {
	type alike struct {
		fate     outage.Fate
		patience int64
		before   bool
		maybe    bool
	}
	groups := map[alike][]*outage.Pod{}
	for i := range f.Pods {
		p := &f.Pods[i]
		if p.Deleted == nil || p.Fate == outage.FateFinished {
			continue
		}
		key := alike{p.Fate, -1, p.Deleted.Latest < 0, p.Maybe}
		if p.Toleration != nil {
			key.patience = *p.Toleration
		}
		groups[key] = append(groups[key], p)
	}
	var list []happening
	for key, pods := range groups {
		h := begin(4 + slices.Index(outage.Fates(), key.fate))
		var moments []*outage.Moment
		var unplaced []*outage.Pod
		for _, p := range pods {
			h.widen(p.Deleted.At)
			moments = append(moments, p.Deleted)
			if p.Replacement != nil && !p.Replacement.Fits {
				unplaced = append(unplaced, p)
			}
		}
		h.text = fmt.Sprintf("%s: %s%s", phrase.Count(len(pods), "pod"), fateTexts[key.fate], chanceText[key.maybe])
		if len(unplaced) > 0 {
			h.text += fmt.Sprintf("; for %d there is no room", len(unplaced))
		}
		h.text += margin(moments)
		h.details = []string{owners(pods)}
		if len(unplaced) > 0 && len(unplaced) < len(pods) {
			h.details = append(h.details, "no room: "+owners(unplaced))
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(x, y happening) int { return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.from, y.from)) })
	return list
}

// mostOwners is how many workloads are named on a line of the timeline.
const mostOwners = 12

// owners says whose pods they are.
func owners(pods []*outage.Pod) string {
	counts := map[string]int{}
	for _, p := range pods {
		name := p.Namespace + "/" + p.Name
		if _, owner, ok := strings.Cut(p.Owner, "/"); ok {
			name = p.Namespace + "/" + owner
		}
		counts[name]++
	}
	var names []string
	for name, n := range counts {
		if n > 1 {
			name = fmt.Sprintf("%s (%d)", name, n)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return phrase.Few(names, mostOwners)
}

// onReturn tells what is there in the end.
func onReturn(f *outage.Forecast) []happening {
	kept := notDeleted(f)
	if f.ForSeconds == nil {
		last := 0.0
		for i := range f.Nodes {
			if m := f.Nodes[i].Unreachable; m != nil {
				last = max(last, m.At)
			}
		}
		for i := range f.Pods {
			if m := f.Pods[i].Deleted; m != nil {
				last = max(last, m.At)
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return []happening{{from: last, to: last, order: 20, text: "what is left bound to " + phrase.Plural(len(f.Nodes), "it", "them"), details: kept}}
	}
	text := "back: empty, with nothing to start again"
	if len(kept) > 0 {
		text = "back, with what was not deleted"
	}
	var waiting, stuck []*outage.Pod
	for i := range f.Pods {
		p := &f.Pods[i]
		if r := p.Replacement; r != nil && r.WhenBack != "" {
			waiting = append(waiting, p)
		}
		if p.Fate == outage.FateStuck && p.Deleted.At <= *f.ForSeconds {
			stuck = append(stuck, p)
		}
	}
	if n := len(stuck); n > 0 {
		text = strings.Replace(text, ", with nothing to start again", "", 1)
		kept = append(kept, fmt.Sprintf("%s that %s stuck %s ended: %s", phrase.Count(n, "pod"), phrase.Plural(n, "was", "were"), phrase.Plural(n, "is", "are"), owners(stuck)))
	}
	if n := len(waiting); n > 0 {
		text = strings.Replace(text, ", with nothing to start again", "", 1)
		kept = append(kept, fmt.Sprintf("%s that had no room before %s: %s", phrase.Count(n, "replacement"), phrase.Plural(n, "starts", "start"), owners(waiting)))
	}
	return []happening{{from: *f.ForSeconds, to: *f.ForSeconds, order: 20, text: text, details: kept}}
}

// notDeleted says which pods are not, those together of which the same becomes.
func notDeleted(f *outage.Forecast) (kept []string) {
	for _, fate := range []outage.Fate{outage.FateRestarts, outage.FateStays} {
		for _, off := range slices.Concat([]outage.Fate{""}, outage.Fates()) {
			for _, maybe := range []bool{false, true} {
				var pods []*outage.Pod
				for i := range f.Pods {
					if p := &f.Pods[i]; p.Fate == fate && p.IfOff == off && p.Maybe == maybe {
						pods = append(pods, p)
					}
				}
				if len(pods) == 0 {
					continue
				}
				unless := ""
				if maybe {
					unless = ", unless chance has their node tainted"
				}
				kept = append(kept, fmt.Sprintf("%s %s%s%s: %s", phrase.Count(len(pods), "pod"), fateTexts[fate], offTexts[off], unless, owners(pods)))
			}
		}
	}
	return kept
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"strings"

	"refit.dev/refit/internal/phrase"
)

// waitRow is a line of what waited for what.
type waitRow struct{ Who, What, Total, Longest, Example string }

func (r *Run) waitRows(p *page) {
	for _, w := range r.nodeWaits() {
		p.Waits = append(p.Waits, waitRow{
			Who: phrase.Count(w.nodes, "node"), What: w.what, Total: duration(w.total), Longest: duration(w.longest),
		})
	}
	list := sorted(r.waits.by)
	for i, w := range list {
		if i == mostWaits {
			p.WaitsLeftOut = len(list) - i
			break
		}
		row := waitRow{
			Who:  phrase.Count(len(w.pods), "pod") + " on " + phrase.Count(len(w.nodes), "node"),
			What: w.key.wording(), Total: duration(w.total), Longest: duration(w.longest),
		}
		if w.blocker != nil {
			row.Example = w.blocker.Message
		}
		p.Waits = append(p.Waits, row)
	}
}

// movesView is how often pods moved, and where their replacements went.
type movesView struct {
	Sentence             string
	Bars                 []bar
	Label                string
	Landed               []fact
	Rows, More           []moveRow
	LeftOut              int
	HasLanded, SomeAgain bool
}

type moveRow struct {
	Workload, Pods, Evictions, Rate     string
	OnMaintained, OnAwaiting, Elsewhere string
	Again                               bool
}

func (r *Run) movesView() *movesView {
	all := &r.moves.all
	if all.evictions == 0 {
		return nil
	}
	v := &movesView{Sentence: fmt.Sprintf("%s had to leave %s, and %s %s accepted, %.2f for each.", phrase.Count(all.pods(), "pod"),
		phrase.Plural(all.pods(), "its node", "their nodes"), phrase.Count(all.evictions, "eviction"), phrase.Plural(all.evictions, "was", "were"), all.rate())}
	if all.again > 0 {
		v.Sentence += fmt.Sprintf(" %s %s of a replacement that had to move on.", phrase.Count(all.again, "eviction"), phrase.Plural(all.again, "was that", "were those"))
		v.SomeAgain = true
	}
	v.landings(all)
	list := r.moves.sorted()
	for i, m := range list {
		row := moveRow{
			Workload: m.name, Pods: fmt.Sprint(m.pods()), Evictions: fmt.Sprint(m.evictions), Rate: fmt.Sprintf("%.2f", m.rate()), Again: m.again > 0,
			OnMaintained: fmt.Sprint(m.landed[onMaintained]), OnAwaiting: fmt.Sprint(m.landed[onAwaiting]), Elsewhere: fmt.Sprint(m.landed[onOther]),
		}
		switch {
		case i < mostWorkloads:
			v.Rows = append(v.Rows, row)
		case i < 10*mostWorkloads:
			v.More = append(v.More, row)
		default:
			v.LeftOut = len(list) - i
		}
	}
	return v
}

// landings draws where replacements went.
func (v *movesView) landings(all *moved) {
	total := all.landed[onMaintained] + all.landed[onAwaiting] + all.landed[onOther]
	if total == 0 {
		return
	}
	v.HasLanded = true
	x := 0.0
	var words []string
	for i, what := range []struct{ class, text string }{
		onMaintained: {"kept", "on nodes that were done already"},
		onAwaiting:   {"again", "on nodes that were still to be done"},
		onOther:      {"elsewhere", "on nodes that were not to be done"},
	} {
		n := all.landed[i]
		if n == 0 {
			continue
		}
		w := 100 * float64(n) / float64(total)
		text := fmt.Sprintf("%d %s", n, what.text)
		v.Bars = append(v.Bars, bar{Class: what.class, X: number(x), W: number(w), Title: text})
		v.Landed = append(v.Landed, fact{what.class, text})
		words = append(words, text)
		x += w
	}
	v.Label = fmt.Sprintf("Where %s landed: %s", phrase.Count(total, "replacement"), strings.Join(words, ", "))
}

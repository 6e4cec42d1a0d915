// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// outages are the times in which the API server did not answer, in their order.
type outages []outage

type outage struct {
	interval
	node string // whose machine was worked on
	open bool   // it was not heard that it was over
}

var awayPhase = phase{"away", "API away", "the API server answered nothing; pods went on"}

func (o *outages) began(e event.Event) {
	*o = append(*o, outage{interval{e.Time, e.Time}, e.Node, true})
}

// ended ends the outage that began; the event says how long it was, so that it need not
// have been seen to begin.
func (o *outages) ended(e event.Event) {
	if last := len(*o) - 1; last >= 0 && (*o)[last].open {
		*o = (*o)[:last]
	}
	*o = append(*o, outage{interval{e.Time.Add(-time.Duration(e.Seconds * float64(time.Second))), e.Time}, e.Node, false})
}

// until is the end of an outage; of one that was not heard to end, that of the run.
func (o outage) until(end time.Time) time.Time {
	if o.open {
		return end
	}
	return o.to
}

func (o outages) tile(end time.Time) (tile, bool) {
	if len(o) == 0 {
		return tile{}, false
	}
	var sum time.Duration
	for _, x := range o {
		sum += x.until(end).Sub(x.from)
	}
	return tile{Label: "API server away", Value: duration(sum), Note: "in " + phrase.Count(len(o), "outage")}, true
}

// group draws the outages as a row above those of the nodes.
func (o outages) group(r *Run, s scale) (group, bool) {
	if len(o) == 0 {
		return group{}, false
	}
	all, _ := o.tile(r.timeline.end())
	out := row{Name: "API server", Standing: "measured", Class: "idle", Took: all.Value}
	words := []string{"away " + all.Value + " " + all.Note}
	for _, x := range o {
		took, note := x.until(r.timeline.end()).Sub(x.from), "while "+x.node+" was worked on"
		from := s.percent(s.place(x.from))
		out.Bars = append(out.Bars, bar{
			Class: awayPhase.Class, X: number(from), W: number(max(0, s.percent(s.place(x.until(r.timeline.end())))-from)), Title: awayPhase.Name + " " + duration(took) + ", " + note,
		})
		if x.open {
			note += ", not heard to end"
		}
		out.Phases = append(out.Phases, phaseRow{awayPhase.Name, r.since(x.from), duration(took), note})
		words = append(words, fmt.Sprintf("from %s for %s", r.since(x.from), duration(took)))
	}
	out.Label = strings.Join(words, ", ")
	return group{Open: true, Rows: []row{out}}, true
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"time"

	"refit.dev/refit/internal/phrase"
)

// chart is one or two areas and a limit over the time axis, with their table.
type chart struct {
	Name, Note, Side, Class string
	Label                   string // the chart, in words
	Area, Second, Limit     string // paths
	Top                     int32  // what the upper edge stands for
	Heads                   []string
	Rows                    [][]string
	RowNote                 string
}

func (r *Run) outIntervals() []interval {
	var out []interval
	for _, n := range r.nodes {
		out = append(out, n.outs(r.timeline.end())...)
	}
	return out
}

// overview is how many nodes were out, and how many had a slot, over time.
func (r *Run) overview(s scale) *chart {
	var atWork []interval
	for _, n := range r.nodes {
		if len(n.segments) > 0 {
			atWork = append(atWork, interval{n.segments[0].from, n.segments[len(n.segments)-1].to})
		}
	}
	if len(atWork) == 0 {
		return nil
	}
	out, most, at := s.count(r.outIntervals())
	slots, busiest, _ := s.count(atWork)
	peak := max(most, busiest, int32(r.slots))
	until := s.percent(s.place(s.end())) / 100
	c := &chart{
		Name: "Nodes out", Top: peak, Side: fmt.Sprintf("most %d", most),
		Area: area(thin(out, higher), peak, until), Second: area(thin(slots, higher), peak, until),
		Heads: []string{"From", "Nodes out", "Nodes with a slot"},
	}
	c.Label = fmt.Sprintf("How many nodes were out over time: at most %d, at %s", most, r.since(at))
	if r.slots > 0 {
		c.Limit = line([]point{{0, int32(r.slots)}}, peak, 1)
		c.Note = fmt.Sprintf("%d allowed", r.slots)
		c.Label += fmt.Sprintf("; %d were allowed", r.slots)
	}
	c.Rows, c.RowNote = table(s, until, out, slots, higher)
	return c
}

// budgetCharts are the curves of the budgets, those with the least to spare first.
func (r *Run) budgetCharts(p *page, s scale) {
	list := r.budgets.sorted()
	p.BudgetCount = len(list)
	for i, b := range list {
		if i >= mostOpen && b.quiet() || i >= mostBudgets {
			p.BudgetsLeftOut = len(list) - i
			break
		}
		c := b.chart(s)
		if i < mostOpen {
			p.Budgets = append(p.Budgets, c)
		} else {
			p.MoreBudgets = append(p.MoreBudgets, c)
		}
	}
}

func (b *budget) chart(s scale) chart {
	unavailable, allowed := make([]point, len(b.samples)), make([]point, len(b.samples))
	for i, x := range b.samples {
		at := s.percent(s.place(x.at)) / 100
		if i == 0 {
			at = 0 // what it was when the run began
		}
		unavailable[i], allowed[i] = point{at, x.unavailable}, point{at, x.allowed}
	}
	worst, peak, until := b.worst(), b.peak()+1, s.percent(s.place(s.end()))/100
	c := chart{
		Name: b.name, Top: peak, Class: "good",
		Side:  fmt.Sprintf("%d of %d", worst.unavailable, worst.allowed),
		Note:  phrase.Count(int(b.samples[0].expected), "pod"),
		Area:  area(thin(unavailable, higher), peak, until),
		Limit: line(thin(allowed, lower), peak, until),
		Label: fmt.Sprintf("Unavailable pods of budget %s over time: at most %d, %d allowed", b.name, worst.unavailable, worst.allowed),
		Heads: []string{"From", "Unavailable", "Allowed"},
	}
	if b.exceeded() {
		c.Class, c.Side = "bad", c.Side+", exceeded"
		c.Label += ": exceeded"
	}
	c.Rows, c.RowNote = table(s, until, unavailable, allowed, lower)
	return c
}

// table is what stands behind a chart of two curves: every change, or, if there
// were too many to read, the extremes in equal parts of the time.
func table(s scale, until float64, a, b []point, extreme func(x, y int32) bool) (rows [][]string, note string) {
	changes := merge(a, b)
	if len(changes) > mostSamples {
		width := until / mostSamples
		note = "In each line the most, and what was allowed at least, within " + duration(time.Duration(width*float64(s.length))) + "."
		if extreme(2, 1) {
			note = "In each line the most within " + duration(time.Duration(width*float64(s.length))) + "."
		}
		changes = extremes(changes, width, extreme)
	}
	for _, c := range changes {
		at := s.elapsed(time.Duration(c.x * float64(s.length)))
		rows = append(rows, []string{clock(at), fmt.Sprint(c.a), fmt.Sprint(c.b)})
	}
	return rows, note
}

// pair is the value of two curves from x on.
type pair struct {
	x    float64
	a, b int32
}

// merge puts two curves side by side, at every place where one of them changes.
func merge(a, b []point) []pair {
	var out []pair
	var now pair
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case j == len(b) || i < len(a) && a[i].x <= b[j].x:
			now.x, now.a = a[i].x, a[i].y
			i++
		default:
			now.x, now.b = b[j].x, b[j].y
			j++
		}
		switch last := len(out) - 1; {
		case last >= 0 && out[last].x == now.x:
			out[last] = now
		case last >= 0 && out[last].a == now.a && out[last].b == now.b:
		default:
			out = append(out, now)
		}
	}
	return out
}

// extremes reduces changes to one for each width: the largest a, and the extreme b.
func extremes(changes []pair, width float64, extreme func(x, y int32) bool) []pair {
	var out []pair
	last := pair{}
	for i, k := 0, 0; i < len(changes); k++ {
		from, to := float64(k)*width, float64(k+1)*width
		here := pair{from, last.a, last.b}
		for ; i < len(changes) && changes[i].x < to; i++ {
			last = changes[i]
			here.a = max(here.a, last.a)
			if extreme(last.b, here.b) || k == 0 && i == 0 {
				here.b = last.b
			}
		}
		if k >= mostSamples { // rounding may leave the very last for one more
			i = len(changes)
		}
		if n := len(out); n > 0 && out[n-1].a == here.a && out[n-1].b == here.b {
			continue
		}
		out = append(out, here)
	}
	return out
}

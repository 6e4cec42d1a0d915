// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
	"time"
)

// Chart is a table whose last column is a picture: bars over time.
type Chart struct {
	// Head are the titles of the columns before the bars. The first one holds names
	// and is to the left; the others hold numbers and are to the right.
	Head []string
	Rows []ChartRow
	// Kinds are those of the Spans.
	Kinds []ChartKind
	// End is where the time axis ends; it begins at 0.
	End time.Duration
}

// ChartKind is what a part of a bar means.
type ChartKind struct {
	Name string
	// Mark fills a cell, ASCII where there is nothing else.
	Mark, ASCII rune
}

// ChartRow is a line of a Chart.
type ChartRow struct {
	// Columns are as many as the Head.
	Columns []string
	Spans   []Span
}

// Span is a part of a bar. Where several are at the same time, what most of a
// cell's time goes to is drawn.
type Span struct {
	Kind     int // index of the Chart's Kinds
	From, To time.Duration
}

// Cells of a chart that are kept for bars, and of the axis from one label to the next.
const (
	leastBars   = 20
	tickSpacing = 8
)

// Draw draws the chart with its axis above and its legend below.
func (ch *Chart) Draw(c Canvas) string {
	widths := ch.widths(c)
	bars := c.Columns
	for _, w := range widths {
		bars -= w + 2
	}
	bars = max(bars, 1)
	var b strings.Builder
	line := func(columns []string, rest string) {
		var text strings.Builder
		for i, s := range columns {
			switch {
			case i == 0:
				text.WriteString(pad(c.CutMiddle(s, widths[i]), widths[i]) + "  ")
			default:
				text.WriteString(padLeft(c.Cut(s, widths[i]), widths[i]) + "  ")
			}
		}
		b.WriteString(c.plain(cut(strings.TrimRight(text.String()+rest, " "), c.Columns)) + "\n")
	}
	line(ch.Head, axis(ch.End, bars))
	for i := range ch.Rows {
		line(ch.Rows[i].Columns, ch.bar(&ch.Rows[i], bars, c.ASCII))
	}
	legend := make([]string, len(ch.Kinds))
	for i, k := range ch.Kinds {
		legend[i] = string(k.mark(c.ASCII)) + " " + k.Name
	}
	below := strings.Join(legend, "   ")
	b.WriteString(c.Cut(strings.Repeat(" ", max(0, min(c.Columns-bars, c.Columns-cells(below))))+below, c.Columns) + "\n")
	return b.String()
}

// widths gives the columns what they need; names give way to the bars.
func (ch *Chart) widths(c Canvas) []int {
	widths := make([]int, len(ch.Head))
	all := append([]ChartRow{{Columns: ch.Head}}, ch.Rows...)
	for i := range all {
		for j, s := range all[i].Columns {
			widths[j] = max(widths[j], cells(printableLine(s)))
		}
	}
	others := 2
	for _, w := range widths[1:] {
		others += w + 2
	}
	widths[0] = min(widths[0], max(len("NODE"), c.Columns/3, c.Columns-others-2*leastBars))
	return widths
}

func (k ChartKind) mark(ascii bool) rune {
	if ascii {
		return k.ASCII
	}
	return k.Mark
}

// bar draws the spans of a row into so many cells. A row that has spans has one
// cell at the least.
func (ch *Chart) bar(row *ChartRow, n int, ascii bool) string {
	if len(row.Spans) == 0 || ch.End <= 0 {
		return ""
	}
	edge := func(i int) time.Duration { return time.Duration(float64(ch.End) * float64(i) / float64(n)) }
	line := []rune(strings.Repeat(" ", n))
	drawn := false
	for i := range line {
		if kind, busy := most(row.Spans, edge(i), edge(i+1), len(ch.Kinds)); busy {
			line[i], drawn = ch.Kinds[kind].mark(ascii), true
		}
	}
	if !drawn {
		first := row.Spans[0]
		at := min(n-1, int(float64(first.From)/float64(ch.End)*float64(n)))
		line[at] = ch.Kinds[first.Kind].mark(ascii)
	}
	return strings.TrimRight(string(line), " ")
}

// most returns the kind that takes most of the time between two instants, if the
// spans take half of it at the least.
func most(spans []Span, from, to time.Duration, kinds int) (kind int, busy bool) {
	took := make([]time.Duration, kinds)
	var sum time.Duration
	for _, s := range spans {
		if d := min(s.To, to) - max(s.From, from); d > 0 {
			took[s.Kind] += d
			sum += d
		}
	}
	longest := slices.Max(took)
	return slices.Index(took, longest), 2*sum >= to-from && sum > 0
}

// ticks are the distances of labels that a person can reckon with.
var ticks = [...]time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour,
}

// axis labels so many cells, which are the time until end.
func axis(end time.Duration, n int) string {
	if end <= 0 {
		return ""
	}
	step := end + 1 // in centuries nobody reckons
	for _, t := range ticks {
		if float64(t)/float64(end)*float64(n) >= tickSpacing {
			step = t
			break
		}
	}
	line := ""
	for at := time.Duration(0); at <= end; at += step {
		column := int(float64(at) / float64(end) * float64(n))
		label := tickLabel(at)
		if column+len(label) > n {
			break
		}
		line = pad(line, column) + label
	}
	return line
}

// tickLabel leaves out what is zero: 2m, 1h, 1h30m.
func tickLabel(d time.Duration) string {
	text := brief(d)
	for _, zero := range []string{"00s", "00m", "00h"} {
		if len(text) > len(zero)+1 {
			text = strings.TrimSuffix(text, zero)
		}
	}
	return text
}

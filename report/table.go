// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// style is how a line of the table is coloured, if colours are wanted.
type style int

const (
	plainStyle style = iota
	boldStyle
	waitStyle
	failStyle
)

// row is one line of the table, at most as wide as it was asked for.
type row struct {
	text  string
	style style
}

// table draws p for a terminal of so many columns and lines: a line of totals,
// and a line for each node that something is to be told of, as many as fit. It
// leaves the last column and the last line of the terminal free: a line that
// fills the last column would wrap on some terminals, and the cursor needs a
// place to rest that does not scroll the first line away.
func table(p *progress, now time.Time, columns, lines int) []row {
	columns, lines = columns-1, lines-1
	if columns < 1 || lines < 1 {
		return nil
	}
	rows := []row{{text: totals(p, now, columns), style: boldStyle}}
	nodes := p.interesting()
	if len(nodes) == 0 || lines < 3 {
		return rows
	}
	hidden := 0
	if room := lines - 2; len(nodes) > room {
		hidden = len(nodes) - (room - 1) // one line is needed to say so
		nodes = nodes[:room-1]
	}
	l := layoutFor(nodes, columns)
	rows = append(rows, row{text: l.line("NODE", "PHASE", "PODS", "FOR", "WAITS FOR")})
	for _, n := range nodes {
		rows = append(rows, l.node(n, now))
	}
	if hidden > 0 {
		rows = append(rows, row{text: cut(fmt.Sprintf("... and %d more", hidden), columns)})
	}
	return rows
}

// totals is the first line. What matters most stands first; what does not fit is
// left out whole, because half a number or half a name of a run helps nobody.
func totals(p *progress, now time.Time, columns int) string {
	done, failed, active, pending := p.counts()
	parts := []string{fmt.Sprintf("%d/%d nodes done", done, len(p.nodes))}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", failed))
	}
	parts = append(parts, fmt.Sprintf("%d under way", active), fmt.Sprintf("%d to go", pending),
		phrase.Count(p.evicted, "pod")+" evicted")
	if !p.started.IsZero() {
		parts = append(parts, brief(now.Sub(p.started)))
	}
	if p.run != "" {
		parts = append(parts, "run "+printableLine(p.run))
	}
	for len(parts) > 1 && cells(strings.Join(parts, "  ")) > columns {
		parts = parts[:len(parts)-1]
	}
	return cut(strings.Join(parts, "  "), columns)
}

// layout is how wide the columns of a table are.
type layout struct{ columns, name int }

// Cells that the columns after the name take, with the two spaces before each.
const (
	phaseCells = 2 + len(event.PhaseUncordon) // the longest of the phases
	podsCells  = 2 + 4
	forCells   = 2 + 6
	fixedCells = phaseCells + podsCells + forCells
	waitsCells = 2 + 20 // a column of reasons narrower than this says nothing
)

// layoutFor gives the names what they need, but no more than a third of a wide
// screen: the reasons need the room. On a narrow screen there are no reasons.
func layoutFor(nodes []*node, columns int) layout {
	name := len("NODE")
	for _, n := range nodes {
		name = max(name, cells(printableLine(n.name)))
	}
	if free := columns - fixedCells - waitsCells; free >= len("NODE") {
		return layout{columns, min(name, max(free, columns/3))}
	}
	return layout{columns, min(name, max(columns-fixedCells, len("NODE")))}
}

func (l layout) line(name, phase, pods, elapsed, waits string) string {
	line := pad(cutMiddle(name, l.name), l.name) + "  " + pad(phase, phaseCells-2) +
		"  " + padLeft(pods, podsCells-2) + "  " + padLeft(elapsed, forCells-2)
	if l.columns-cells(line) >= waitsCells {
		line += "  " + waits
	}
	return strings.TrimRight(cut(line, l.columns), " ")
}

func (l layout) node(n *node, now time.Time) row {
	pods, look := "", plainStyle
	switch {
	case n.phase == event.PhaseFailed:
		look = failStyle
	case n.phase == event.PhaseDraining:
		pods = strconv.Itoa(n.left())
		if len(n.waiting) > 0 {
			look = waitStyle
		}
	}
	return row{
		text:  l.line(printableLine(n.name), string(n.phase), pods, brief(now.Sub(n.since)), printableLine(n.waits())),
		style: look,
	}
}

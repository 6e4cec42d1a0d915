// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/plan"
	"refit.dev/refit/report"
)

// Kinds of the bars.
const (
	drains = iota
	works
	settles
)

// chart draws when each node is out. Nodes that start at about the same time
// share a line if there would be too many.
func (v planView) chart(p *plan.Plan) report.Chart {
	c := report.Chart{
		Head: []string{"NODE", "PODS", "START", "DONE"},
		Kinds: []report.ChartKind{
			drains:  {Name: "drain", Mark: '▒', ASCII: '-'},
			works:   {Name: "work", Mark: '█', ASCII: '#'},
			settles: {Name: "settle", Mark: '░', ASCII: '.'},
		},
	}
	end := p.PredictedSeconds
	for i := range p.Nodes {
		end = max(end, last(&p.Nodes[i]))
	}
	c.End = span(end)
	domain := commonDomain(p.Nodes)
	for _, nodes := range together(p.Nodes, v.rows) {
		c.Rows = append(c.Rows, row(nodes, domain, end))
	}
	return c
}

// commonDomain is what all names end in from their first dot on: it takes much room and tells nothing.
func commonDomain(nodes []plan.Node) string {
	if len(nodes) < 2 {
		return ""
	}
	domain := nodes[0].Name[len(firstLabel(nodes[0].Name)):]
	for i := range nodes {
		if name := nodes[i].Name; name[len(firstLabel(name)):] != domain {
			return ""
		}
	}
	return domain
}

func firstLabel(name string) string {
	label, _, _ := strings.Cut(name, ".")
	return label
}

// last is the latest instant that a plan tells of a node.
func last(n *plan.Node) float64 {
	at := 0.0
	for _, x := range []*float64{n.Start, n.Drained, n.Back, n.Done} {
		if x != nil {
			at = max(at, *x)
		}
	}
	return at
}

// together parts nodes, which are in the order of their starts, into at most so
// many groups that start at the same time, or as nearly so as it takes; 0: each alone.
func together(nodes []plan.Node, most int) [][]plan.Node {
	apart := -1.0 // seconds between the starts of one group; below 0: each alone
	for {
		var groups [][]plan.Node
		from := 0
		for i := 1; i <= len(nodes); i++ {
			if i == len(nodes) || !near(&nodes[from], &nodes[i], apart) {
				groups = append(groups, nodes[from:i])
				from = i
			}
		}
		if most <= 0 || len(groups) <= most || math.IsInf(apart, 1) { // out of order: it was edited by hand
			return groups
		}
		switch {
		case apart < 0:
			apart = 0
		default:
			apart = max(1, 2*apart)
		}
	}
}

// near tells whether b starts at most so long after a; those that never start do.
func near(a, b *plan.Node, apart float64) bool {
	if apart < 0 {
		return false
	}
	if a.Start == nil || b.Start == nil {
		return a.Start == nil && b.Start == nil
	}
	return *b.Start-*a.Start <= apart
}

// row is a line of the chart.
func row(nodes []plan.Node, domain string, end float64) report.ChartRow {
	pods, done, all := 0, 0.0, true
	r := report.ChartRow{}
	for i := range nodes {
		n := &nodes[i]
		pods += len(n.Moves)
		r.Spans = append(r.Spans, spans(n, end)...)
		all = all && n.Done != nil
		done = max(done, last(n))
	}
	name := strings.TrimSuffix(nodes[0].Name, domain)
	if more := len(nodes) - 1; more > 0 {
		name += " +" + strconv.Itoa(more)
	}
	r.Columns = []string{name, strconv.Itoa(pods), "never", "never"}
	if start := nodes[0].Start; start != nil {
		r.Columns[2] = rounded(*start)
	}
	if all {
		r.Columns[3] = rounded(done)
	}
	return r
}

// spans are the parts of a node's bar. What never ends lasts until the end.
func spans(n *plan.Node, end float64) []report.Span {
	var list []report.Span
	edges := []*float64{n.Start, n.Drained, n.Back, n.Done}
	for kind, from := range edges[:3] {
		if from == nil {
			break
		}
		to := end
		if edges[kind+1] != nil {
			to = *edges[kind+1]
		}
		list = append(list, report.Span{Kind: kind, From: span(*from), To: span(to)})
	}
	return list
}

// mostReasons is how many reasons to wait for are told: who wants them all
// looks at each node.
const mostReasons = 8

// writeWaits says what nodes wait for before they start, the most frequent reasons of the first.
func (v planView) writeWaits(b *strings.Builder, p *plan.Plan) {
	var reasons []string
	names := map[string][]string{}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Waits == "" {
			continue
		}
		if names[n.Waits] == nil {
			reasons = append(reasons, n.Waits)
		}
		names[n.Waits] = append(names[n.Waits], n.Name)
	}
	if len(reasons) == 0 {
		return
	}
	b.WriteString("\nwhat they wait for\n")
	for i, reason := range reasons {
		if i == mostReasons && !v.moves && len(reasons) > mostReasons+1 {
			b.WriteString(v.Fold(fmt.Sprintf("  and %d reasons more: -o wide tells each node's", len(reasons)-i), "    "))
			break
		}
		nodes := names[reason]
		text := fmt.Sprintf("  %s: %s, %s", reason, phrase.Count(len(nodes), "node"), strings.Join(nodes, ", "))
		if len(nodes) == 1 {
			text = fmt.Sprintf("  %s: %s", reason, nodes[0])
		}
		if v.moves {
			b.WriteString(v.Fold(text, "    "))
		} else {
			b.WriteString(v.Cut(text, v.Columns) + "\n")
		}
	}
}

// writeMoves says of each node what moves where, and when.
func (v planView) writeMoves(b *strings.Builder, p *plan.Plan) {
	for i := range p.Nodes {
		n := &p.Nodes[i]
		parts := []string{n.Name}
		for _, x := range []struct {
			what string
			at   *float64
		}{{"starts at", n.Start}, {"empty at", n.Drained}, {"back at", n.Back}, {"done at", n.Done}} {
			if x.at != nil {
				parts = append(parts, x.what+" "+rounded(*x.at))
			}
		}
		line := strings.Join(parts, ", ")
		if n.Waits != "" {
			line += "; it waits: " + n.Waits
		}
		b.WriteString("\n" + v.Fold(line, "  "))
		longest := 0
		for _, m := range n.Moves {
			longest = max(longest, min(len(m.Pod), v.Columns/2))
		}
		for _, m := range n.Moves {
			to := m.Note
			if m.To != "" {
				to = "to " + m.To
			}
			b.WriteString(v.Fold(fmt.Sprintf("%8s  %-*s  %s", rounded(m.At), longest, m.Pod, to), "            "))
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/plan"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// planView shows a plan to a person.
type planView struct {
	report.Canvas
	// rows is how many lines the chart of the nodes may have; 0: one for each node.
	rows int
	// waits adds what nodes wait for, moves what moves where.
	waits, moves bool
}

// Rows of the chart: more are no picture any more. Where the plan is asked about,
// the question and what it is about have to be on the screen together.
const (
	mostRows   = 40
	askedRows  = 14
	leastRows  = 6
	otherLines = 11 // what stands around the chart, and the question
)

// codeCells has room for every code that there is; a plan that was edited by hand
// may hold anything.
const codeCells = 30

// viewFor lays out the data of a dry run in a format of -o.
func viewFor(c report.Canvas, format string) planView {
	v := planView{Canvas: c, rows: mostRows, waits: true}
	if format == "wide" {
		v.rows, v.moves = 0, true
	}
	return v
}

// viewAsked lays out what is shown before a question.
func viewAsked(c report.Canvas) planView {
	v := planView{Canvas: c, rows: askedRows}
	if c.Lines > 0 {
		v.rows = min(max(c.Lines-otherLines, leastRows), mostRows)
	}
	return v
}

// text draws a plan. What is long comes first: the rest has to be on the screen
// when it is asked about.
func (v planView) text(p *run.Prepared) string {
	var b strings.Builder
	v.findings(&b, p)
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	v.head(&b, p)
	if chart := v.chart(p.Plan); len(chart.Rows) > 0 {
		b.WriteString("\n" + chart.Draw(v.Canvas))
	}
	if v.waits {
		v.writeWaits(&b, p.Plan)
	}
	if v.moves {
		v.writeMoves(&b, p.Plan)
	}
	return b.String()
}

// findings are the reasons why nodes can never be emptied, and all warnings.
func (v planView) findings(b *strings.Builder, p *run.Prepared) {
	for _, list := range [][]cluster.Finding{p.Plan.Blockers, p.Plan.Warnings} {
		for i := range list {
			f := &list[i]
			// As refit check does it: a code and what to do stand once for all that follow one another.
			if i == 0 || list[i-1].Code != f.Code {
				fmt.Fprintf(b, "%s %s\n", paint(f.Severity, v.Color), v.Cut(f.Code, codeCells))
			}
			b.WriteString(v.Fold("  "+f.Object.String()+": "+f.Message, "    "))
			if last := i == len(list)-1 || list[i+1].Code != f.Code || list[i+1].Hint != f.Hint; last && f.Hint != "" {
				b.WriteString(v.Fold("  hint: "+f.Hint, "    "))
			}
		}
	}
	for _, warning := range p.Warnings {
		b.WriteString(v.Fold("warning: "+warning, "  "))
	}
	if p.Spec.Drain.DisableEviction {
		b.WriteString(v.Fold("warning: with --disable-eviction pods are deleted, whatever their disruption budgets say", "  "))
	}
}

// head says what is done, within which limits, and how long it will take.
func (v planView) head(b *strings.Builder, p *run.Prepared) {
	s := p.Spec
	line := fmt.Sprintf("maintain %s of %d", phrase.Count(len(s.Nodes), "node"), p.Total)
	if p.Slots < p.Total {
		line += fmt.Sprintf(", at most %d out at once (--max-unavailable %s)", p.Slots, s.MaxUnavailable)
	}
	if s.MaxUnavailablePerZone > 0 {
		line += fmt.Sprintf(", at most %d of one zone", s.MaxUnavailablePerZone)
	}
	if s.MaxMoves != run.DefaultMaxMoves {
		line += fmt.Sprintf(", at most %v moves per pod", s.MaxMoves)
	}
	b.WriteString(v.Fold(line, "  "))
	b.WriteString(v.Fold(each(s), "  "))
	for _, text := range estimates(p.Plan, s.MaxMoves) {
		b.WriteString(v.Fold(text, "  "))
	}
	if v.moves && len(p.Plan.Bounds) > 0 {
		bounds := make([]string, len(p.Plan.Bounds))
		for i, x := range p.Plan.Bounds {
			bounds[i] = boundName(x) + " " + rounded(x.Seconds)
		}
		b.WriteString(v.Fold("it cannot take less than: "+strings.Join(bounds, ", "), "  "))
	}
	if len(p.Surges) > 0 {
		names := make([]string, len(p.Surges))
		for i, pod := range p.Surges {
			names[i] = pod.Namespace + "/" + pod.Name
		}
		b.WriteString(v.Fold("their Deployments are restarted, because they can never be evicted: "+strings.Join(names, ", "), "  "))
	}
	for _, o := range p.Out {
		b.WriteString(v.Fold(fmt.Sprintf("out already: %s, %s", o.Node, o.Reason), "  "))
	}
}

// each says what is done to a node.
func each(s *run.Spec) string {
	act, surge, soak := "reboot", "", ""
	switch {
	case s.Command != "":
		act = fmt.Sprintf("run %q for it", s.Command)
	case !s.Reboot:
		act = "do what --command or --reboot will say"
	}
	if s.SurgeSingletons {
		surge = "restart Deployments whose pods can never be evicted, "
	}
	if d := s.Soak.Duration; d > 0 {
		soak = ", soak for " + report.Brief(d)
	}
	return fmt.Sprintf("each: cordon, %sdrain, %s, wait until it is Ready, uncordon, wait until its workloads are back%s", surge, act, soak)
}

// estimates compare how long it is expected to take with the least that it can,
// and how often pods move with how many have to, and with how often they should.
func estimates(p *plan.Plan, maxMoves float64) []string {
	if p.PredictedSeconds <= 0 {
		return []string{phrase.Count(p.Pods, "pod") + " to move"}
	}
	took := "predicted " + rounded(p.PredictedSeconds)
	if never := neverDone(p); never > 0 { // the bounds are about all nodes
		took += fmt.Sprintf(", after which %d of %s %s not done", never, phrase.Count(len(p.Nodes), "node"), phrase.Plural(never, "is", "are"))
	} else if len(p.Bounds) > 0 && p.LowerBoundSeconds > 0 {
		took += fmt.Sprintf(", at least %s (%s): %.2f x the lower bound", rounded(p.LowerBoundSeconds), boundName(p.Bounds[0]), p.PredictedSeconds/p.LowerBoundSeconds)
	}
	moves := "no pods to move"
	if p.Pods > 0 {
		moves = fmt.Sprintf("%s to move, %s: %.2f per pod", phrase.Count(p.Pods, "pod"), phrase.Count(p.Moves, "move"), p.MovesPerPod())
		if p.MovesPerPod() > maxMoves {
			moves += fmt.Sprintf(", more than --max-moves %v for want of room", maxMoves)
		}
	}
	return []string{took, fmt.Sprintf("%s; %s out at the peak", moves, phrase.Count(p.Peak, "node"))}
}

// neverDone is how many nodes the plan does not finish.
func neverDone(p *plan.Plan) int {
	never := 0
	for i := range p.Nodes {
		if p.Nodes[i].Done == nil {
			never++
		}
	}
	return never
}

// boundName names what bounds the time: slots, budget shop/web.
func boundName(b plan.Bound) string {
	name := strings.ReplaceAll(string(b.Limit), "-", " ")
	if b.Limit == plan.LimitLanding {
		name = "room on done nodes"
	}
	if b.Subject != "" {
		name += " " + b.Subject
	}
	return name
}

// span is so many seconds of a plan. One that was saved may hold any number.
func span(seconds float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(max(seconds, 0), century.Seconds()) * float64(time.Second))
}

// rounded writes an estimate: to the second, because nobody knows better.
func rounded(seconds float64) string { return report.Brief(span(seconds).Round(time.Second)) }

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/run"
)

//go:embed page.gohtml style.css
var files embed.FS

// How much of everything a page shows at once, so that it can be read, and
// loaded, after a run over thousands of nodes too. What is beyond stands in
// parts that are closed at first, or is left out and counted.
const (
	mostRows      = 100 // nodes in one part of the chart
	mostBudgets   = 200 // budgets with a chart
	mostOpen      = 20  // of those, shown at once
	mostSamples   = 40  // rows of the table behind a chart
	mostWorkloads = 50
	mostWaits     = 50
	mostNodeWaits = 5 // in the details of one node
	mostNotices   = 200
)

// page is what the template shows. All text in it is plain text.
type page struct {
	Style                     template.CSS
	ID, Headline, Lead        string
	Brand, Work               string // what the run did to the nodes
	State, Class, Explanation string
	Created                   time.Time
	Tiles                     []tile
	Missing                   []string
	Overview                  *chart
	HasPlan, HasNotches       bool
	PlanNote                  string
	Legend                    []phase
	Axis                      axis
	Groups                    []group
	Budgets, MoreBudgets      []chart
	BudgetsLeftOut            int
	BudgetCount               int
	Waits                     []waitRow
	WaitsLeftOut              int
	Moves                     *movesView
	Notices                   []noticeRow
	NoticesLeftOut            int
	Facts                     []fact
}

// tile is one of the figures on top.
type tile struct{ Label, Value, Note, Class string }

// fact is a line of what is known of the run.
type fact struct{ Name, Value string }

// axis is the time axis of a chart.
type axis struct {
	Ticks  []tick
	Pauses []pause
}

// Write makes the page of r, which gets nothing added after that. It fails only
// if w does.
func Write(w io.Writer, r *Run) error {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("read the style sheet of the report: %w", err)
	}
	t, err := template.ParseFS(files, "page.gohtml")
	if err != nil {
		return fmt.Errorf("read the template of the report: %w", err)
	}
	r.finish()
	p := r.page()
	p.Style = template.CSS(style) //nolint:gosec // it is the program's own
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return err
	}
	_, err = io.WriteString(w, withoutControls(b.String()))
	return err
}

// withoutControls escapes control characters, but for line feeds and tabs, and
// replaces what is no UTF-8: a page may be written to a terminal, too.
func withoutControls(page string) string {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	page = strings.ToValidUTF8(page, string(utf8.RuneError))
	if !strings.ContainsFunc(page, control) {
		return page
	}
	var b strings.Builder
	for _, r := range page {
		if control(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (r *Run) page() *page {
	s, cut := r.scale()
	p := &page{
		ID: r.status.Spec.Run, Created: r.status.Spec.Created.UTC(),
		HasPlan: len(r.planned.Nodes) > 0, HasNotches: slices.ContainsFunc(r.planned.Nodes, func(n PlannedNode) bool { return n.Drained > 0 }),
		Axis: axis{s.ticks(), s.pauses()},
	}
	r.outcome(p)
	p.Overview = r.overview(s)
	p.Groups, p.Legend = r.groups(s)
	if g, ok := r.outages.group(r, s); ok {
		p.Groups, p.Legend = append([]group{g}, p.Groups...), append(p.Legend, awayPhase)
	}
	r.budgetCharts(p, s)
	r.waitRows(p)
	p.Moves = r.movesView()
	r.noticeRows(p)
	p.Tiles = r.tiles(s)
	p.Facts = r.facts()
	p.Missing = r.missing
	if r.events == 0 && r.timeline.worked() > 0 {
		p.Missing = append(p.Missing, "This run has no history: it was begun by an older version of refit, or its history could not be written. "+
			"What follows is what its journal tells; pods, budgets and waits are not in there.")
	}
	if cut {
		p.PlanNote = "The plan expected more time than is shown here: its bars are cut off on the right."
	}
	if r.skipped > 0 {
		p.Missing = append(p.Missing, fmt.Sprintf("%s of the run's history could not be read and %s missing here.",
			phrase.Count(r.skipped, "line"), phrase.Plural(r.skipped, "is", "are")))
	}
	return p
}

// scale is the time axis of the page. A plan that expected much more time than a
// run took does not squeeze what really was: it is cut off, unless the run is at
// work. Of a run that may be resumed more is shown: it is what is still to come.
func (r *Run) scale() (s scale, cut bool) {
	most := 1.25 // times as long
	if !r.status.Closed() {
		most = 4
	}
	var planned time.Duration
	for _, n := range r.planned.Nodes {
		planned = max(planned, n.End)
	}
	if limit := time.Duration(most * float64(r.timeline.width(0))); r.status.Phase != run.PhaseRunning && r.timeline.worked() > 0 && planned > limit {
		planned, cut = limit, true
	}
	return scale{r.timeline, r.timeline.width(planned)}, cut
}

// outcome says what became of the run.
func (r *Run) outcome(p *page) {
	total, done := len(r.nodes), r.status.Count(run.Maintained)
	p.Brand, p.Work = "maintenance report", "maintenance"
	if r.upgrades() {
		p.Brand, p.Work = "upgrade report", "upgrade"
	}
	p.Headline = fmt.Sprintf("%d of %s %s", done, phrase.Count(total, "node"), r.done())
	p.Lead = act(r.status.Spec)
	p.Explanation = r.status.Reason
	switch r.status.Phase {
	case run.PhaseFinished:
		p.State, p.Class = "finished", "good"
	case run.PhaseRunning:
		p.State, p.Class = "still running", "busy"
		p.Explanation = "as it was at " + moment(r.timeline.end())
	case run.PhaseStopped:
		p.State, p.Class = "stopped", "warn"
	case run.PhaseKilled:
		p.State, p.Class = "interrupted", "bad"
		p.Explanation = "its process ended without saying so; refit runs resume carries on"
	case run.PhaseAborted:
		p.State, p.Class = "aborted", "warn"
	default:
		p.State, p.Class = string(r.status.Phase), "warn"
	}
	if r.status.Count(run.Failed) > 0 || r.status.Result == event.ResultFailed {
		p.Class = "bad"
	}
}

func act(s *run.Spec) string {
	switch {
	case s.Upgrade != nil:
		return "upgrade to Kubernetes " + s.Upgrade.To
	case s.Reboot:
		return "reboot of each node"
	}
	return "command for each node: " + s.Command
}

func (r *Run) tiles(s scale) []tile {
	total, done, failed := len(r.nodes), r.status.Count(run.Maintained), r.status.Count(run.Failed)
	nodes := tile{Label: "Nodes " + r.done(), Value: fmt.Sprintf("%d/%d", done, total), Note: "none failed"}
	if failed > 0 {
		nodes.Note, nodes.Class = fmt.Sprintf("%d failed", failed), "bad"
	}
	took := tile{Label: "Time", Value: duration(r.timeline.worked())}
	var notes []string
	if r.planned.Predicted > 0 {
		notes = append(notes, "planned "+duration(r.planned.Predicted))
	}
	if r.planned.LowerBound > 0 {
		notes = append(notes, "at least "+duration(r.planned.LowerBound)+" by its estimates")
	}
	if sum := r.oneByOne(); len(notes) == 0 && sum > r.timeline.worked() {
		notes = append(notes, "one node at a time: "+duration(sum))
	}
	took.Note = strings.Join(notes, "; ")
	out := []tile{nodes, took}
	if m := &r.moves.all; m.evictions > 0 {
		t := tile{Label: "Moves per pod", Value: fmt.Sprintf("%.2f", m.rate()),
			Note: fmt.Sprintf("%s of %s", phrase.Count(m.evictions, "eviction"), phrase.Count(m.pods(), "pod"))}
		if r.planned.MovesPerPod > 0 {
			t.Note += fmt.Sprintf("; planned %.2f", r.planned.MovesPerPod)
		}
		out = append(out, t)
	}
	_, most, at := s.count(r.outIntervals())
	busiest := tile{Label: "Most nodes out at once", Value: fmt.Sprint(most)}
	if r.slots > 0 {
		busiest.Note = fmt.Sprintf("%d allowed", r.slots)
	}
	if most > 0 {
		busiest.Note = strings.TrimPrefix(busiest.Note+", at "+clock(at.Sub(r.timeline.begin())), ", ")
	}
	out = append(out, busiest)
	if t, ok := r.outages.tile(r.timeline.end()); ok {
		out = append(out, t)
	}
	if n := len(r.budgets.by); n > 0 {
		t := tile{Label: "Budgets exceeded", Note: "of " + fmt.Sprint(n)}
		var names []string
		for _, b := range r.budgets.sorted() {
			if b.exceeded() {
				names = append(names, b.name)
			}
		}
		t.Value = fmt.Sprint(len(names))
		if len(names) > 0 {
			t.Class, t.Note = "bad", phrase.Few(names, 2)
		}
		out = append(out, t)
	}
	if list := sorted(r.waits.by); len(list) > 0 {
		longest := slices.MaxFunc(list, func(a, b *wait) int { return int((a.longest - b.longest) / time.Millisecond) })
		out = append(out, tile{Label: "Longest wait of a pod", Value: duration(longest.longest), Note: "for " + longest.key.wording()})
	}
	return out
}

// oneByOne is how long it would have taken with one node at a time.
func (r *Run) oneByOne() time.Duration {
	var sum time.Duration
	for _, n := range r.nodes {
		sum += n.took(r.timeline)
	}
	return sum
}

func (r *Run) facts() []fact {
	s := r.status.Spec
	facts := []fact{
		{"Run", s.Run},
		{"Cluster", s.Cluster.Server},
		{"What", act(s)},
		{"Created", moment(s.Created)},
		{"Begun", moment(r.timeline.begin())},
		{"Last heard of", moment(r.timeline.end())},
		{"Nodes out at once", "at most " + s.MaxUnavailable.String()},
		{"Failures allowed", fmt.Sprint(s.MaxFailures)},
	}
	if n := len(r.timeline.sessions); n > 1 {
		facts = append(facts, fact{"Taken up", fmt.Sprintf("%d times", n)})
	}
	if r.status.Result != "" {
		facts = append(facts, fact{"Result", string(r.status.Result)})
	}
	if r.status.Reason != "" {
		facts = append(facts, fact{"Message", r.status.Reason})
	}
	return facts
}

// noticeRow is a failure or a warning.
type noticeRow struct {
	At, Kind, About, Message, Hint string
}

func (r *Run) noticeRows(p *page) {
	for i, n := range r.notices {
		if i == mostNotices {
			p.NoticesLeftOut = len(r.notices) - i
			break
		}
		p.Notices = append(p.Notices, noticeRow{clock(n.Time.Sub(r.timeline.begin())), n.Kind, n.About, n.Message, n.Hint})
	}
}

// moment writes a time of day, to the second.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

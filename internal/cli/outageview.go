// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/outage"
	"refit.dev/refit/report"
	"refit.dev/refit/toleration"
)

// outageView shows a forecast to a person.
type outageView struct {
	report.Canvas
	basis
	// wide tells of each pod, and of a ranking also what has ended, and whose loss halts the cluster.
	wide bool
	// away is for how long a ranking has each node lost, in seconds; nil for ever.
	away *float64
}

// basis is what a forecast rests on. It is part of the contract of the command line.
type basis struct {
	Parameters  []outage.Row `json:"parameters"`
	Assumptions []string     `json:"assumptions"`
}

func (v outageView) writeForecast(w io.Writer, format string, f *outage.Forecast) error {
	if format == "json" || format == "yaml" {
		return report.WriteData(w, format, struct {
			*outage.Forecast
			basis
		}{f, v.basis})
	}
	var b strings.Builder
	v.head(&b, f)
	v.timeline(&b, f)
	v.workloads(&b, f)
	if v.wide {
		v.pods(&b, f)
	}
	v.list(&b, "good to know", f.Remarks)
	v.rests(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRanks shows what the loss of each node would do.
func (v outageView) writeRanks(w io.Writer, format string, hurts []outage.Hurt) error {
	if format == "json" || format == "yaml" {
		return report.WriteData(w, format, ranking(hurts, v.away, v.basis))
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	header := "NODE\tZONE\tPODS\tLOST\tDOWN\tSTUCK\tNOROOM\tBELOW\tMOVE\tRESTART\tSTAY"
	if v.wide {
		header += "\tENDED\tCONTROL PLANE"
	}
	fmt.Fprintln(t, header)
	var halts, dead []string
	for i := range hurts {
		h := &hurts[i]
		zone := h.Zone
		if zone == "" {
			zone = "-"
		}
		name := oneLine(h.Node)
		if h.Halts != "" {
			name += " *"
			halts = append(halts, "* "+h.Node+": "+h.Halts+", so nothing is put right anywhere while it is away")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d", name, oneLine(zone), h.Pods-h.Fates[outage.FateFinished],
			h.Fates[outage.FateLost]+h.Fates[outage.FateFailsJob], h.Down, h.Fates[outage.FateStuck], h.Unplaced, h.Below,
			h.Fates[outage.FateReplaced], h.Fates[outage.FateRestarts], h.Fates[outage.FateStays])
		if h.NotReady {
			dead = append(dead, h.Node)
		}
		if v.wide {
			plane := "-"
			if h.Halts != "" {
				plane = "lost" // why is told below
			}
			fmt.Fprintf(t, "\t%d\t%s", h.Fates[outage.FateFinished], plane)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // into memory
	if len(halts) > 0 {
		b.WriteString("\n")
		for _, text := range halts {
			b.WriteString(v.Fold(text, "  "))
		}
	}
	b.WriteString("\n" + v.Fold("pods: those that have not ended: lost (for good, or with their Jobs, as if the machine was off), stuck (nothing replaces them until the node is back),"+
		" moved (deleted, and replaced elsewhere), restarted in place, or staying; down: workloads with no healthy pod left; noroom: replacements that fit nowhere;"+
		" below: workloads with less than their budget asks for", "  "))
	if len(dead) > 0 {
		v.list(&b, "not Ready as it is, so that some of this has happened", []string{strings.Join(dead, ", ")})
	}
	v.rests(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// ranked is a node in the JSON of a ranking, with its place, from 1 on.
type ranked struct {
	Rank int `json:"rank"`
	outage.Hurt
}

// ranking is the JSON of a ranking. Of the fates none is left out.
func ranking(hurts []outage.Hurt, away *float64, b basis) any {
	all := make([]ranked, len(hurts))
	for i, h := range hurts {
		fates := make(map[outage.Fate]int, len(h.Fates))
		for _, fate := range outage.Fates() {
			fates[fate] = h.Fates[fate]
		}
		h.Fates = fates
		all[i] = ranked{i + 1, h}
	}
	return struct {
		ForSeconds *float64 `json:"forSeconds"`
		Nodes      []ranked `json:"nodes"`
		basis
	}{away, all, b}
}

// head says what is lost.
func (v outageView) head(b *strings.Builder, f *outage.Forecast) {
	names := make([]string, len(f.Nodes))
	for i := range f.Nodes {
		names[i] = f.Nodes[i].Name
	}
	line := phrase.Few(names, 6)
	if len(names) > 1 {
		line = phrase.Count(len(names), "node") + ": " + line
	}
	away := "never to come back"
	if f.ForSeconds != nil {
		away = "for " + lasting(*f.ForSeconds)
	}
	b.WriteString(v.Fold(fmt.Sprintf("%s: %s, %s, with %s", line, sinceWhen(f), away, somePods(len(f.Pods))), "  "))
	for i := range f.Zones {
		z := &f.Zones[i]
		zone := "zone " + z.Name
		if z.Name == "" {
			zone = "nodes without a zone"
		}
		many := 0
		for k := range f.Nodes {
			if f.Nodes[k].Zone == z.Name {
				many++
			}
		}
		rate := ", no node is tainted"
		switch {
		case z.Rate > 0 && many > 1:
			rate = fmt.Sprintf(", one node is tainted every %s", lasting(1/z.Rate))
		case z.Rate > 0:
			rate = ""
		case z.Maybe:
			rate = ", no node is tainted any more, but some may be before"
		}
		b.WriteString(v.Fold(fmt.Sprintf("%s: %d of %s not Ready then, %s%s", zone, z.Unready, phrase.Count(z.Nodes, "node"), z.Mode, rate), "  "))
	}
}

// sinceWhen says since when the nodes are away.
func sinceWhen(f *outage.Forecast) string {
	silent := 0
	for i := range f.Nodes {
		if f.Nodes[i].SilentFor > 0 {
			silent++
		}
	}
	switch {
	case silent == 0:
		return "away from now on"
	case silent == 1 && len(f.Nodes) == 1:
		return fmt.Sprintf("silent for %s already, and away from now on", rounded(f.Nodes[0].SilentFor))
	}
	return fmt.Sprintf("away from now on, %d of them silent already", silent)
}

// lasting is a duration as a person says it: 10m, and what is less than a second as it is.
func lasting(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%gs", seconds)
	}
	return toleration.Span(span(seconds).Round(time.Second))
}

// workloads shows what is left of each workload over time.
func (v outageView) workloads(b *strings.Builder, f *outage.Forecast) {
	if len(f.Workloads) == 0 {
		return
	}
	b.WriteString("\nhealthy pods left (! less than the budget asks for)\n")
	width := 0
	for i := range f.Workloads {
		width = max(width, len(workloadName(&f.Workloads[i])))
	}
	width = min(width, v.Columns/2)
	for i := range f.Workloads {
		w := &f.Workloads[i]
		v.left(b, width, workloadName(w), w.Before, w.Required, w.Steps)
	}
	for i := range f.Budgets {
		x := &f.Budgets[i]
		names := make([]string, len(x.Workloads))
		for k, name := range x.Workloads {
			names[k] = strings.ToLower(strings.Replace(name, "/", " ", 1))
		}
		v.left(b, width, fmt.Sprintf("budget %s/%s, of %s:", x.Namespace, x.Name, phrase.Few(names, mostOwners)), x.Before, x.Required, x.Steps)
	}
}

// left shows how many healthy pods there are from when on.
func (v outageView) left(b *strings.Builder, width int, name string, before, required int, all []outage.Step) {
	parts := []string{fmt.Sprintf("%d before", before)}
	steps := perSecond(all)
	for i, s := range steps {
		if i == mostSteps-1 && len(steps) > mostSteps {
			parts = append(parts, "and so on")
		}
		if i >= mostSteps-1 && i < len(steps)-1 && len(steps) > mostSteps && (s.Healthy < required || steps[i-1].Healthy >= required) {
			continue // from when on it is enough again, and the last one, are told
		}
		mark := ""
		if required > s.Healthy {
			mark = "!"
		}
		parts = append(parts, fmt.Sprintf("%d%s from %s", s.Healthy, mark, rounded(s.At)))
	}
	line := fmt.Sprintf("  %-*s  %s", width, name, strings.Join(parts, ", "))
	if required > 0 {
		line += fmt.Sprintf("; budget: %d", required)
	}
	b.WriteString(v.Fold(line, "      "))
}

// mostSteps is how many are shown of what a workload has left.
const mostSteps = 6

// perSecond leaves out steps that look as if they were at the same time as the next.
func perSecond(steps []outage.Step) []outage.Step {
	var out []outage.Step
	for i, s := range steps {
		if i == 0 || i == len(steps)-1 || rounded(s.At) != rounded(steps[i+1].At) {
			out = append(out, s)
		}
	}
	return out
}

func workloadName(w *outage.Workload) string {
	return strings.ToLower(w.Kind) + " " + w.Namespace + "/" + w.Name
}

// pods shows each pod.
func (v outageView) pods(b *strings.Builder, f *outage.Forecast) {
	b.WriteString("\neach pod\n")
	for i := range f.Pods {
		p := &f.Pods[i]
		when := "      -"
		if p.AtSecond != nil {
			when = fmt.Sprintf("%7s", moment(*p.AtSecond))
		}
		fate := string(p.Fate)
		if p.Maybe {
			fate += ", or not"
		}
		parts := []string{fmt.Sprintf("%s  %s/%s on %s: %s: %s", when, p.Namespace, p.Name, p.Node, fate, p.Reason)}
		if r := p.Replacement; r != nil {
			parts = append(parts, replacementText(r))
		}
		for _, x := range p.Volumes {
			parts = append(parts, fmt.Sprintf("its volume %s %s", x.Claim, x.Reason))
		}
		b.WriteString(v.Fold(strings.Join(parts, "; "), "           "))
	}
}

func replacementText(r *outage.Replacement) string {
	switch {
	case !r.Fits && r.Waits != "":
		return r.Waits
	case !r.Fits && r.WhenBack != "":
		return fmt.Sprintf("the new one fits nowhere until the return, and then on %s: %s", r.WhenBack, strings.Join(r.Why, "; "))
	case !r.Fits:
		return "the new one fits nowhere: " + strings.Join(r.Why, "; ")
	case r.Waits != "":
		return fmt.Sprintf("the new one fits on %s, but waits: %s", r.Node, r.Waits)
	case r.Starts != nil:
		return fmt.Sprintf("the new one goes to %s, and starts at %s", r.Node, rounded(r.Starts.At))
	}
	return "the new one goes to " + r.Node
}

func (v outageView) list(b *strings.Builder, title string, texts []string) {
	if len(texts) == 0 {
		return
	}
	b.WriteString("\n" + title + "\n")
	for _, text := range texts {
		b.WriteString(v.Fold("- "+text, "  "))
	}
}

// rests says what the forecast rests on.
func (v outageView) rests(b *strings.Builder) {
	b.WriteString("\nit rests on\n")
	name, value := 0, 0
	for _, r := range v.Parameters {
		name, value = max(name, len(oneLine(r.Name))), max(value, len(oneLine(r.Value)))
	}
	for _, r := range v.Parameters {
		line := fmt.Sprintf("  %-*s  %-*s", name, oneLine(r.Name), value, oneLine(r.Value))
		source := oneLine(r.Source)
		if r.Assumed {
			source += ", assumed"
		}
		if len(line)+2+len(source) <= v.Columns {
			b.WriteString(line + "  " + source + "\n")
			continue
		}
		// A source is read as a whole, and searched for.
		b.WriteString(v.Fold(strings.TrimRight(line, " "), "      "))
		b.WriteString(v.Fold("      "+source, "      "))
	}
	for _, text := range slices.Clone(v.Assumptions) {
		b.WriteString(v.Fold("- "+text, "  "))
	}
}

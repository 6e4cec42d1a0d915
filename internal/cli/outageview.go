// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/outage"
	"refit.dev/refit/report"
)

// outageView shows a forecast to a person.
type outageView struct {
	report.Canvas
	basis
	// wide tells of each pod.
	wide bool
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
		return report.WriteData(w, format, struct {
			Nodes []outage.Hurt `json:"nodes"`
			basis
		}{hurts, v.basis})
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tZONE\tPODS\tLOST\tDOWN\tSTUCK\tNO ROOM\tBELOW\tREPLACED\tRESTART\tSTAY")
	var halts []string
	for i := range hurts {
		h := &hurts[i]
		zone := h.Zone
		if zone == "" {
			zone = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", oneLine(h.Node), oneLine(zone), h.Pods,
			h.Fates[outage.FateLost]+h.Fates[outage.FateFailsJob], h.Down, h.Fates[outage.FateStuck], h.Unplaced, h.Below,
			h.Fates[outage.FateReplaced], h.Fates[outage.FateRestarts], h.Fates[outage.FateStays])
		if h.Halts != "" {
			halts = append(halts, h.Node+": "+h.Halts+", so nothing is put right anywhere while it is away")
		}
	}
	_ = t.Flush() // into memory
	b.WriteString("\n" + v.Fold("lost: pods for good, and failed Jobs, as if the machine was off; down: workloads with no healthy pod left; stuck: pods that nothing replaces until the node is back;"+
		" no room: replacements that fit nowhere; below: workloads with less than their budget asks for", "  "))
	v.list(&b, "the control plane", halts)
	v.rests(&b)
	_, err := io.WriteString(w, b.String())
	return err
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
		away = "for " + rounded(*f.ForSeconds)
	}
	b.WriteString(v.Fold(fmt.Sprintf("%s: away from now on, %s, with %s", line, away, phrase.Count(len(f.Pods), "pod")), "  "))
	for i := range f.Zones {
		z := &f.Zones[i]
		zone := "zone " + z.Name
		if z.Name == "" {
			zone = "nodes without a zone"
		}
		rate := "no node is tainted"
		if z.Rate > 0 {
			rate = fmt.Sprintf("one node is tainted every %s", rounded(1/z.Rate))
		}
		b.WriteString(v.Fold(fmt.Sprintf("%s: %d of %s not Ready then, %s, %s", zone, z.Unready, phrase.Count(z.Nodes, "node"), z.Mode, rate), "  "))
	}
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
		parts := []string{fmt.Sprintf("%d before", w.Before)}
		for _, s := range w.Steps {
			mark := ""
			if w.Required > s.Healthy {
				mark = "!"
			}
			parts = append(parts, fmt.Sprintf("%d%s from %s", s.Healthy, mark, rounded(s.At)))
		}
		line := fmt.Sprintf("  %-*s  %s", width, workloadName(w), strings.Join(parts, ", "))
		if w.Required > 0 {
			line += fmt.Sprintf("; budget: %d", w.Required)
		}
		b.WriteString(v.Fold(line, "      "))
	}
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
			when = fmt.Sprintf("%7s", rounded(*p.AtSecond))
		}
		parts := []string{fmt.Sprintf("%s  %s/%s on %s: %s: %s", when, p.Namespace, p.Name, p.Node, p.Fate, p.Reason)}
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
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, r := range v.Parameters {
		assumed := ""
		if r.Assumed {
			assumed = ", assumed"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s%s\n", oneLine(r.Name), oneLine(r.Value), oneLine(r.Source), assumed)
	}
	_ = t.Flush() // into memory
	for _, text := range slices.Clone(v.Assumptions) {
		b.WriteString(v.Fold("- "+text, "  "))
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
)

// findings are what a check found among so many objects.
type findings struct {
	all         []cluster.Finding
	nodes, pods int
}

// write writes the findings in one of the formats of -o.
func (f findings) write(w io.Writer, format string, color bool) error {
	switch format {
	case "json", "yaml":
		return report.WriteData(w, format, f.data())
	case "wide":
		return f.table(w)
	}
	_, err := io.WriteString(w, f.text(color))
	return err
}

// data is the form of JSON and YAML. It is part of the contract of the command line.
func (f findings) data() any {
	all := f.all
	if all == nil {
		all = []cluster.Finding{} // an empty list, not null
	}
	counts := map[string]int{}
	for severity, n := range f.counts() {
		counts[cluster.Severity(severity).String()] = n
	}
	return map[string]any{"findings": all, "counts": counts}
}

func (f findings) counts() [cluster.Info + 1]int {
	var counts [cluster.Info + 1]int
	for i := range f.all {
		counts[f.all[i].Severity]++
	}
	return counts
}

// table is one line for each finding, without the hints.
func (f findings) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SEVERITY\tCODE\tOBJECT\tMESSAGE")
	for i := range f.all {
		x := &f.all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.Severity, x.Code, oneLine(x.Object.String()), oneLine(x.Message))
	}
	return t.Flush()
}

// text groups the findings by code, with what to do once for each group.
func (f findings) text(color bool) string {
	var b strings.Builder
	for i := range f.all {
		x := &f.all[i]
		if i == 0 || f.all[i-1].Code != x.Code || f.all[i-1].Severity != x.Severity {
			fmt.Fprintf(&b, "%s %s\n", paint(x.Severity, color), x.Code)
		}
		fmt.Fprintf(&b, "  %s: %s\n", oneLine(x.Object.String()), oneLine(x.Message))
		if i == len(f.all)-1 || f.all[i+1].Code != x.Code || f.all[i+1].Hint != x.Hint {
			if x.Hint != "" {
				fmt.Fprintf(&b, "  hint: %s\n", oneLine(x.Hint))
			}
		}
		if i == len(f.all)-1 || f.all[i+1].Code != x.Code {
			b.WriteString("\n")
		}
	}
	b.WriteString(f.summary())
	return b.String()
}

// summary is the last line.
func (f findings) summary() string {
	found := "nothing found"
	if len(f.all) > 0 {
		counts := f.counts()
		found = fmt.Sprintf("%s, %s, %d info", phrase.Count(counts[cluster.Blocker], "blocker"), phrase.Count(counts[cluster.Warning], "warning"), counts[cluster.Info])
	}
	return fmt.Sprintf("%s, %s: %s\n", phrase.Count(f.nodes, "node"), phrase.Count(f.pods, "pod"), found)
}

// paint writes a severity in capitals, and in its colour.
func paint(s cluster.Severity, color bool) string {
	name := strings.ToUpper(s.String())
	if !color {
		return name
	}
	codes := [...]string{cluster.Blocker: "31;1", cluster.Warning: "33", cluster.Info: "2"}
	return "\x1b[" + codes[s] + "m" + name + "\x1b[0m"
}

// oneLine keeps text that comes from a cluster from breaking out of its line.
func oneLine(s string) string {
	return report.Printable(strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(s))
}

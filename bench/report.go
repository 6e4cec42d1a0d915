// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// section is one benchmark's part of the report.
type section struct {
	name   string
	title  string
	about  string // what is done, in a paragraph
	tables []table
	notes  []string
}

// table has columns of its own; the first is the heading of its lines.
type table struct {
	columns []string
	lines   [][]string
}

func (t table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(t.columns, " | "), strings.Repeat("---|", len(t.columns)))
	for _, line := range t.lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
	}
	b.WriteString("\n")
}

// row compares one figure of both programs. goal is "" for a figure that has none.
type row struct {
	what, refit, kubectl, ratio, goal string
}

func compared(rows ...row) table {
	t := table{columns: []string{"", "refit", "kubectl", "ratio", "goal"}}
	for _, r := range rows {
		t.lines = append(t.lines, []string{r.what, r.refit, r.kubectl, r.ratio, r.goal})
	}
	return t
}

const preamble = `# Benchmarks

Written by ` + "`make bench`" + `; do not edit by hand. refit and kubectl do the same work; where only one node
is drained, on the same embedded cluster in turn, and they change places from round to round. A figure
is the median over the rounds, with the lowest and the highest in brackets; a ratio is refit's figure by
kubectl's, there of the same round. Only ratios say something: the machine is small and shared.

`

// writeReport writes the sections to path. Sections of benchmarks that did not
// run this time stay as they are in the file.
func writeReport(path string, sections []section) error {
	parts := map[string]string{}
	if path != "-" {
		old, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("read the last report: %w", err)
		}
		parts = split(string(old))
	}
	for _, s := range sections {
		parts[s.name] = s.markdown()
	}
	var b bytes.Buffer
	b.WriteString(preamble)
	for _, bm := range benchmarks {
		if part, ok := parts[bm.name]; ok {
			fmt.Fprintf(&b, "<!-- %s -->\n%s<!-- end -->\n\n", bm.name, part)
		}
	}
	text := append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
	if path == "-" {
		_, err := os.Stdout.Write(text)
		return err
	}
	aside := filepath.Join(filepath.Dir(path), ".benchmarks.tmp")
	if err := os.WriteFile(aside, text, 0o644); err != nil { //nolint:gosec // a document that everybody may read
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(aside, path)
}

// split takes a report apart into its sections' texts by name.
func split(text string) map[string]string {
	parts := map[string]string{}
	for _, bm := range benchmarks {
		_, rest, ok := strings.Cut(text, "<!-- "+bm.name+" -->\n")
		if !ok {
			continue
		}
		if part, _, ok := strings.Cut(rest, "<!-- end -->"); ok {
			parts[bm.name] = part
		}
	}
	return parts
}

func (s section) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.title, s.about)
	for _, t := range s.tables {
		t.markdown(&b)
	}
	for _, n := range s.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	fmt.Fprintf(&b, "- Measured on %s with `go run ./bench -only %s`.\n", time.Now().UTC().Format(time.DateOnly), s.name)
	return b.String()
}

func (s spread) format(verb, unit string) string {
	f := func(v float64) string { return fmt.Sprintf(verb, v) }
	return fmt.Sprintf("%s%s (%s-%s)", f(s.median), unit, f(s.low), f(s.high))
}

func (s spread) seconds() string   { return s.format("%.2f", " s") }
func (s spread) ratio() string     { return s.format("%.3f", "") }
func (s spread) count() string     { return s.format("%.0f", "") }
func (s spread) percent() string   { return s.format("%.0f", "%") }
func (s spread) mebibytes() string { return s.format("%.0f", " MiB") }

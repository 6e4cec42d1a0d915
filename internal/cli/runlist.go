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
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// unreadable is what a list says in JSON and YAML of a run whose journal cannot be read.
type unreadable struct {
	Run   string `json:"run"`
	Error string `json:"error"`
}

func writeRuns(w io.Writer, format string, entries []run.Entry) error {
	if format != "text" {
		list := struct {
			Runs       []*run.Status `json:"runs"`
			Unreadable []unreadable  `json:"unreadable,omitempty"`
		}{Runs: []*run.Status{}}
		for _, e := range entries {
			if e.Err != nil {
				list.Unreadable = append(list.Unreadable, unreadable{e.Run, e.Err.Error()})
				continue
			}
			list.Runs = append(list.Runs, e.Status)
		}
		return report.WriteData(w, format, list)
	}
	return writeTable(w, func(row func(cells ...any)) {
		row("RUN", "PHASE", "NODES", "DONE", "FAILED", "WHAT", "MESSAGE")
		for _, e := range entries {
			if e.Err != nil {
				row(e.Run, "unreadable", "-", "-", "-", "-", e.Err)
				continue
			}
			s := e.Status
			row(e.Run, s.Phase, len(s.Spec.Nodes), s.Count(run.Maintained), s.Count(run.Failed), brief(act(s.Spec)), s.Reason)
		}
	})
}

func writeRun(w io.Writer, format string, s *run.Status) error {
	if format != "text" {
		return report.WriteData(w, format, s)
	}
	head := []string{
		"run:              " + s.Spec.Run,
		"phase:            " + string(s.Phase),
		"created:          " + s.Spec.Created.Format(time.RFC3339),
		"cluster:          " + s.Spec.Cluster.Server,
		"what:             " + act(s.Spec),
	}
	if s.Spec.Restore == nil {
		head = append(head, "max unavailable:  "+s.Spec.MaxUnavailable.String())
	}
	if s.Spec.Upgrade != nil {
		for i, stage := range s.Spec.Upgrade.Stages {
			line := fmt.Sprintf("stage %-12s%s", fmt.Sprintf("%d of %d:", i+1, len(s.Spec.Upgrade.Stages)), stage)
			if len(stage.Nodes) > 0 {
				line += ": " + phrase.Few(stage.Nodes, 5)
			}
			head = append(head, line)
		}
	}
	if len(s.Machines) > 0 {
		head = append(head, "machines:         "+tally(s.Machines))
	}
	if s.Phase == run.PhaseRunning {
		head = append(head, fmt.Sprintf("process:          %d on %s", s.Process.PID, s.Process.Host))
	}
	if s.Reason != "" {
		head = append(head, "message:          "+s.Reason)
	}
	if _, err := io.WriteString(w, report.Printable(strings.Join(head, "\n"))+"\n\n"); err != nil {
		return err
	}
	err := writeTable(w, func(row func(cells ...any)) {
		row("NODE", "STANDING", "STEP", "EVICTED", "TOOK", "REASON")
		for _, name := range inTurn(s.Spec) {
			n := s.Nodes[name]
			row(name, standing(s.Spec, n), dash(string(n.Step)), n.Evicted, took(n), n.Reason)
		}
	})
	if err != nil || len(s.Machines) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return writeTable(w, func(row func(cells ...any)) {
		row("MACHINE", "KEY", "NODE", "STANDING", "FOR")
		for i := range s.Machines {
			m := &s.Machines[i]
			what := "in the place of " + m.Node
			if m.Old {
				what = "was the machine of " + m.Node
			}
			row(dash(m.Machine.ID), dash(m.Machine.Key), dash(m.Machine.Node), m.Stand, what)
		}
	})
}

// tally counts machines by where they stand; owed are those that the run has still to remove, or may have made.
func tally(machines []run.MachineEntry) string {
	var made, owed, gone, asked int
	for i := range machines {
		switch machines[i].Stand {
		case run.Ordered:
			asked++
		case run.Idle, run.Serving:
			made++
		case run.Leaving, run.Owed:
			owed++
		case run.Removed:
			gone++
		}
	}
	parts := []string{fmt.Sprintf("%d made", made), fmt.Sprintf("%d removed", gone), fmt.Sprintf("%d owed", owed)}
	if asked > 0 {
		parts = append(parts, fmt.Sprintf("%d asked for, of which nobody knows whether there is one", asked))
	}
	return strings.Join(parts, ", ")
}

// inTurn are the nodes of a run: those of an upgrade in the order of its stages.
func inTurn(s *run.Spec) []string {
	var names []string
	if s.Upgrade != nil {
		for _, stage := range s.Upgrade.Stages {
			names = append(names, stage.Nodes...)
		}
	}
	for _, target := range s.Nodes {
		names = append(names, target.Name)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		before := seen[name]
		seen[name] = true
		return before
	})
}

// standing is where a node stands, for people.
func standing(s *run.Spec, n *run.NodeStatus) string {
	if s.Upgrade != nil && n.Standing == run.Maintained && n.Machine != nil {
		return "replaced"
	}
	if s.Upgrade != nil && n.Standing == run.Maintained {
		return "upgraded"
	}
	return string(n.Standing)
}

func act(s *run.Spec) string {
	switch {
	case s.Upgrade != nil:
		return "upgrade to " + s.Upgrade.To
	case s.Restore != nil:
		return "restore etcd from " + s.Restore.File
	case s.Reboot:
		return "reboot"
	}
	return "command: " + s.Command
}

// brief keeps the start of a command, so that a list stays one: refit runs show
// has all of it.
func brief(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return s
}

func took(n *run.NodeStatus) string {
	if n.Started.IsZero() || n.Ended.IsZero() {
		return "-"
	}
	return n.Ended.Sub(n.Started).Round(time.Second / 10).String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writeTable aligns the cells of rows; each row is one line, whatever is in it.
func writeTable(w io.Writer, rows func(row func(cells ...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(report.Printable(fmt.Sprint(c)))
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
	})
	return t.Flush()
}

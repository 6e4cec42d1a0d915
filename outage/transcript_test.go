// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/cluster"
	"refit.dev/refit/outage"
)

// TestTranscripts: `cluster` takes the lines that town describes; `set NAME=VALUE`
// gives parameters; `parameters` shows those that are not plain defaults; `lose
// nodes=(a,b) for=10m heard=(a:3)` shows the forecast, where a was heard of 3 seconds
// before the loss, all pods of a node in a line if it is `brief`; `rank` loses each node by itself; `in zone=z` and `zones` show
// what the zones are.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *cluster.Snapshot
		var p outage.Parameters
		var remarks []string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cluster":
				s = build(t, d.Input)
				p, remarks = outage.ReadParameters(s)
				return fmt.Sprintf("%d nodes, %d pods", len(s.Nodes), len(s.Pods))
			case "parameters":
				return showParameters(&p, remarks)
			case "set":
				for _, arg := range d.CmdArgs {
					if err := p.Set(arg.Key, arg.Vals[0]); err != nil {
						return "error: " + err.Error()
					}
				}
				return "ok"
			case "lose":
				f, err := outage.Predict(s, p, request(t, d))
				if err != nil {
					return "error: " + err.Error()
				}
				if d.HasArg("brief") {
					return brief(f)
				}
				return show(f)
			case "in":
				var zone string
				d.ScanArgs(t, "zone", &zone)
				return fmt.Sprint(outage.InZone(s, zone))
			case "zones":
				return fmt.Sprint(outage.ZoneNames(s))
			case "rank":
				hurts, err := outage.Rank(s, p, request(t, d).For)
				if err != nil {
					return "error: " + err.Error()
				}
				return showRank(hurts)
			}
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func request(t *testing.T, d *datadriven.TestData) outage.Request {
	t.Helper()
	r := outage.Request{Heard: map[string]outage.Renewal{}}
	for _, arg := range d.CmdArgs {
		var err error
		switch arg.Key {
		case "nodes":
			r.Nodes = arg.Vals
		case "for":
			r.For, err = time.ParseDuration(arg.Vals[0])
		case "heard":
			for _, x := range arg.Vals {
				node, ago, _ := strings.Cut(x, ":")
				var d time.Duration
				d, err = time.ParseDuration(ago)
				then := noon.Add(-d)
				r.Heard[node] = outage.Renewal{At: then, Earliest: then, Latest: then}
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
	}
	return r
}

func moment(m *outage.Moment) string {
	if m == nil {
		return "never"
	}
	if m.Earliest == m.Latest {
		return fmt.Sprintf("%g", m.At)
	}
	return fmt.Sprintf("%g (%g to %g)", m.At, m.Earliest, m.Latest)
}

func show(f *outage.Forecast) string {
	var b strings.Builder
	for _, n := range f.Nodes {
		fmt.Fprintf(&b, "node %s: unknown %s, tainted %s", n.Name, moment(n.Unreachable), moment(n.Tainted))
		if n.Untainted != "" {
			b.WriteString(": " + n.Untainted)
		}
		b.WriteString(orNot(n.Maybe) + "\n")
	}
	showZones(&b, f)
	for _, p := range f.Pods {
		fmt.Fprintf(&b, "%s %s", p.Name, p.Fate)
		if p.Deleted != nil {
			b.WriteString(" at " + moment(p.Deleted))
		}
		if p.Close {
			b.WriteString(", a close thing")
		}
		if p.IfOff != "" {
			fmt.Fprintf(&b, " (%s if off)", p.IfOff)
		}
		b.WriteString(orNot(p.Maybe) + ": " + p.Reason + "\n")
		if r := p.Replacement; r != nil {
			fmt.Fprintf(&b, "  replacement: fits %t %s", r.Fits, r.Node)
			if r.Starts != nil {
				b.WriteString(" starts " + moment(r.Starts))
			}
			for _, why := range append(r.Why, r.Waits) {
				if why != "" {
					b.WriteString(", " + why)
				}
			}
			if r.WhenBack != "" {
				b.WriteString(", when they are back " + r.WhenBack)
			}
			b.WriteString("\n")
		}
		for _, v := range p.Volumes {
			fmt.Fprintf(&b, "  volume %s: detached %s, %s\n", v.Claim, moment(v.Detached), v.Reason)
		}
	}
	for _, w := range f.Workloads {
		fmt.Fprintf(&b, "%s %s: %d healthy", w.Kind, w.Name, w.Before)
		if w.Budget != "" {
			fmt.Fprintf(&b, " (budget %s wants %d)", w.Budget, w.Required)
		}
		if len(w.Budgets) > 0 {
			fmt.Fprintf(&b, " (all: %s)", strings.Join(w.Budgets, " "))
		}
		for _, s := range w.Steps {
			fmt.Fprintf(&b, ", %d from %g", s.Healthy, s.At)
		}
		b.WriteString("\n")
	}
	for _, x := range f.Budgets {
		fmt.Fprintf(&b, "budget %s of %s wants %d: %d healthy", x.Name, strings.Join(x.Workloads, " "), x.Required, x.Before)
		for _, s := range x.Steps {
			fmt.Fprintf(&b, ", %d from %g", s.Healthy, s.At)
		}
		b.WriteString("\n")
	}
	for _, r := range f.Remarks {
		b.WriteString("- " + r + "\n")
	}
	return b.String()
}

func orNot(maybe bool) string {
	if maybe {
		return ", or not"
	}
	return ""
}

func showZones(b *strings.Builder, f *outage.Forecast) {
	for _, z := range f.Zones {
		fmt.Fprintf(b, "zone %q: %d of %d not Ready, %s, %g/s%s\n", z.Name, z.Unready, z.Nodes, z.Mode, z.Rate, orNot(z.Maybe))
	}
}

// brief shows the pods of each node together.
func brief(f *outage.Forecast) string {
	var b strings.Builder
	for _, n := range f.Nodes {
		fmt.Fprintf(&b, "node %s: unknown %s, tainted %s%s\n", n.Name, moment(n.Unreachable), moment(n.Tainted), orNot(n.Maybe))
		fates := map[outage.Fate]int{}
		var first, last *outage.Moment
		for i := range f.Pods {
			p := &f.Pods[i]
			if p.Node != n.Name {
				continue
			}
			fates[p.Fate]++
			if m := p.Deleted; m != nil && (first == nil || m.At < first.At) {
				first = m
			}
			if m := p.Deleted; m != nil && (last == nil || m.At > last.At) {
				last = m
			}
		}
		fmt.Fprintf(&b, "  %v, deleted %s and %s\n", fates, moment(first), moment(last))
	}
	showZones(&b, f)
	for _, r := range f.Remarks {
		b.WriteString("- " + r + "\n")
	}
	return b.String()
}

func showParameters(p *outage.Parameters, remarks []string) string {
	var b strings.Builder
	for _, r := range p.Rows() {
		fmt.Fprintf(&b, "%s %s: %s", r.Name, r.Value, r.Source)
		if r.Assumed {
			b.WriteString(", assumed")
		}
		b.WriteString("\n")
	}
	for _, r := range remarks {
		b.WriteString("- " + r + "\n")
	}
	return b.String()
}

func showRank(hurts []outage.Hurt) string {
	var b strings.Builder
	for _, h := range hurts {
		fmt.Fprintf(&b, "%s: %d pods", h.Node, h.Pods)
		for _, fate := range outage.Fates() {
			if n := h.Fates[fate]; n > 0 {
				fmt.Fprintf(&b, ", %d %s", n, fate)
			}
		}
		fmt.Fprintf(&b, "; %d unplaced, %d down, %d below", h.Unplaced, h.Down, h.Below)
		if h.NotReady {
			b.WriteString("; not Ready")
		}
		if h.Halts != "" {
			b.WriteString("; halts: " + h.Halts)
		}
		b.WriteString("\n")
	}
	return b.String()
}

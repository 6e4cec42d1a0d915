// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/plan"
)

// TestTranscripts makes plans for the clusters of testdata, which are examples to
// read: `plan` draws what is expected in the town that its input describes (see
// parseTown), `decide` what may be started in the middle of a run. The checker
// finds nothing wrong with any of them.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			x, err := parseTown(d.Input)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			w := x.world()
			if d.Cmd == "decide" {
				return decision(d, x, w)
			}
			p, err := plan.Make(w, &x.intent)
			if err != nil {
				return "error: " + err.Error()
			}
			if faults := checkPlan(x, p); len(faults) > 0 {
				t.Errorf("%s: %s", d.Pos, strings.Join(faults, "\n"))
			}
			return drawn(p)
		})
	})
}

// chartWidth is how many characters the time of a plan takes.
const chartWidth = 40

// drawn is a Plan as text: a line for each node, on it `=` while it is emptied, `#`
// during the work, `-` until it is done, and below it what moves and what it waits for.
func drawn(p *plan.Plan) string {
	var b strings.Builder
	end := max(p.PredictedSeconds, 1)
	for _, n := range p.Nodes {
		for _, at := range []*float64{n.Start, n.Drained, n.Back, n.Done} {
			if at != nil {
				end = max(end, *at)
			}
		}
	}
	fmt.Fprintf(&b, "predicted %gs", p.PredictedSeconds)
	if len(p.Bounds) > 0 {
		fmt.Fprintf(&b, ", at least %gs (%s %s", p.LowerBoundSeconds, p.Bounds[0].Limit, p.Bounds[0].Subject)
		b.WriteString(")")
	}
	fmt.Fprintf(&b, "; %d moves of %d pods (%.2f), %d of %d slots\n", p.Moves, p.Pods, p.MovesPerPod(), p.Peak, p.Slots)
	for _, n := range p.Nodes {
		fmt.Fprintf(&b, "%-6s|%s| %s\n", n.Name, bar(&n, end), times(&n))
		if n.Waits != "" {
			fmt.Fprintf(&b, "       waits: %s\n", n.Waits)
		}
		for _, m := range n.Moves {
			fmt.Fprintf(&b, "       %gs %s", m.At, strings.TrimPrefix(m.Pod, townNamespace+"/"))
			if m.To != "" {
				fmt.Fprintf(&b, " -> %s", m.To)
			}
			if m.Lands != nil {
				fmt.Fprintf(&b, " at %gs", *m.Lands)
			}
			if m.Note != "" {
				fmt.Fprintf(&b, " (%s)", m.Note)
			}
			b.WriteString("\n")
		}
	}
	for _, f := range p.Blockers {
		fmt.Fprintf(&b, "blocker: %s %s: %s\n", f.Object, f.Code, f.Message)
	}
	for _, f := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s %s: %s\n", f.Object, f.Code, f.Message)
	}
	return strings.ReplaceAll(b.String(), " )", ")")
}

func bar(n *plan.Node, end float64) string {
	line := []byte(strings.Repeat(" ", chartWidth))
	fill := func(from, to *float64, with byte) {
		if from == nil {
			return
		}
		until := end
		if to != nil {
			until = *to
		}
		for i := int(*from / end * chartWidth); i < int(until/end*chartWidth); i++ {
			line[i] = with
		}
	}
	fill(n.Start, n.Drained, '=')
	fill(n.Drained, n.Back, '#')
	fill(n.Back, n.Done, '-')
	return string(line)
}

func times(n *plan.Node) string {
	if n.Start == nil {
		return "never"
	}
	at := func(t *float64) string {
		if t == nil {
			return "never"
		}
		return fmt.Sprintf("%gs", *t)
	}
	return fmt.Sprintf("starts %s, empty %s, back %s, done %s", at(n.Start), at(n.Drained), at(n.Back), at(n.Done))
}

// decision draws what Decide says of a town in which some nodes are on their way:
// leaving=, settling=, done= and failed= name them.
func decision(d *datadriven.TestData, x *town, w *plan.World) string {
	s := w.NewState(&x.intent)
	for _, arg := range d.CmdArgs {
		stage, known := map[string]plan.Stage{"leaving": plan.Leaving, "settling": plan.Settling, "done": plan.Done, "failed": plan.Uninvolved}[arg.Key]
		if !known {
			return "unknown: " + arg.Key
		}
		for _, name := range arg.Vals {
			n, _ := w.Node(name)
			s.Stage[n] = stage
			s.Out[n] = stage == plan.Leaving || !x.nodes[x.node(name)].inService()
		}
	}
	order := plan.Order{Eager: 1}
	for _, name := range x.intent.Nodes {
		n, _ := w.Node(name)
		order.Nodes = append(order.Nodes, n)
	}
	v := w.Decide(&x.intent, &order, s)
	var b strings.Builder
	for _, n := range v.Start {
		fmt.Fprintf(&b, "start %s\n", w.Name(n))
	}
	for _, wait := range v.Waits {
		fmt.Fprintf(&b, "%s waits: %s\n", w.Name(wait.Node), w.Reason(&x.intent, wait))
	}
	if b.Len() == 0 {
		return "nothing to start"
	}
	return b.String()
}

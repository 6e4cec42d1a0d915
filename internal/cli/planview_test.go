// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
)

// TestPlanView draws the plans of testdata/planview. A plan is written as
//
//	slots N                        how many may be out at once
//	bound LIMIT SECONDS [SUBJECT]
//	node NAME START DRAINED BACK DONE PODS [waits for ...]    - for never
//	waves NAME COUNT SIZE SECONDS PODS                        so many nodes, so many at a time
//	blocker|warning TEXT, lost TEXT
func TestPlanView(t *testing.T) {
	datadriven.Walk(t, "testdata/planview", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			canvas := report.Canvas{Columns: 79, ASCII: d.HasArg("ascii"), Color: d.HasArg("color")}
			d.MaybeScanArgs(t, "columns", &canvas.Columns)
			d.MaybeScanArgs(t, "lines", &canvas.Lines)
			p := parsePrepared(t, d.Input)
			switch d.Cmd {
			case "text", "wide":
				return viewFor(canvas, d.Cmd).text(p)
			case "asked":
				return viewAsked(canvas).text(p)
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

func parsePrepared(t *testing.T, input string) *run.Prepared {
	t.Helper()
	number := func(s string) *float64 {
		if s == "-" {
			return nil
		}
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return &x
	}
	share, _ := run.ParseShare("25%")
	p := &run.Prepared{Spec: &run.Spec{Reboot: true, MaxUnavailable: share, MaxMoves: run.DefaultMaxMoves}, Plan: &plan.Plan{}}
	add := func(n plan.Node, pods int) {
		for i := range pods {
			m := plan.Move{Pod: fmt.Sprintf("shop/web-%s-%d", n.Name, i), To: "node-99"}
			if n.Start != nil {
				m.At = *n.Start + float64(i)
			}
			if i == 1 {
				m.To, m.Note = "", "not replaced"
			}
			n.Moves = append(n.Moves, m)
		}
		p.Plan.Nodes = append(p.Plan.Nodes, n)
		p.Spec.Nodes = append(p.Spec.Nodes, run.Target{Name: n.Name})
		p.Plan.Pods += pods
		p.Plan.Moves += pods
		p.Plan.PredictedSeconds = max(p.Plan.PredictedSeconds, last(&n))
	}
	for line := range strings.Lines(input) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		words := strings.Fields(rest)
		switch kind {
		case "slots":
			p.Slots = int(*number(words[0]))
			p.Plan.Peak = p.Slots
		case "bound":
			b := plan.Bound{Limit: plan.Limit(words[0]), Seconds: *number(words[1]), Subject: strings.Join(words[2:], " ")}
			p.Plan.Bounds = append(p.Plan.Bounds, b)
			p.Plan.LowerBoundSeconds = p.Plan.Bounds[0].Seconds
		case "node":
			add(plan.Node{
				Name: words[0], Start: number(words[1]), Drained: number(words[2]), Back: number(words[3]), Done: number(words[4]),
				Waits: strings.Join(words[6:], " "),
			}, int(*number(words[5])))
		case "waves":
			count, size, took := *number(words[1]), *number(words[2]), *number(words[3])
			for i := range int(count) {
				start := math.Floor(float64(i)/size) * took
				n := plan.Node{Name: fmt.Sprintf("%s-%03d", words[0], i), Start: &start}
				drained, back, done := start+took/5, start+took*4/5, start+took
				n.Drained, n.Back, n.Done = &drained, &back, &done
				if i >= int(size) {
					n.Waits = fmt.Sprintf("%d nodes may be out at once", int(size))
				}
				add(n, int(*number(words[4])))
			}
		case "blocker", "warning":
			f := cluster.Finding{Code: "pod-never-evicted", Object: cluster.Object{Kind: "Pod", Namespace: "shop", Name: "a"}, Message: rest, Hint: "run more of them"}
			if kind == "blocker" {
				p.Plan.Blockers = append(p.Plan.Blockers, f)
			} else {
				f.Severity = cluster.Warning
				p.Plan.Warnings = append(p.Plan.Warnings, f)
			}
		case "lost":
			p.Warnings = append(p.Warnings, rest)
		case "out":
			p.Out = append(p.Out, run.NodeReason{Node: words[0], Reason: strings.Join(words[1:], " ")})
		case "command":
			p.Spec.Reboot, p.Spec.Command = false, rest
		case "zone":
			p.Spec.MaxUnavailablePerZone = int(*number(words[0]))
		case "moves":
			p.Plan.Moves = int(*number(words[0]))
		case "soak":
			p.Spec.Soak = metav1.Duration{Duration: time.Duration(*number(words[0])) * time.Second}
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	p.Total = len(p.Spec.Nodes)
	return p
}

// TestPlanViewFits: whatever a plan holds - it may have been edited by hand - no
// line is wider than the canvas, and nothing moves the cursor.
func TestPlanViewFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("abc-./ \x1b\n\t\u202eéß")), 0, 60, -1) // of one cell each
		seconds := rapid.Ptr(rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 10000)), true)
		p := &run.Prepared{Spec: &run.Spec{Reboot: true}, Plan: &plan.Plan{
			PredictedSeconds: rapid.Float64().Draw(t, "predicted"), LowerBoundSeconds: rapid.Float64().Draw(t, "bound"),
			Bounds: []plan.Bound{{Limit: "slots", Subject: name.Draw(t, "subject")}},
		}}
		for range rapid.IntRange(0, 60).Draw(t, "nodes") {
			p.Plan.Nodes = append(p.Plan.Nodes, plan.Node{
				Name: name.Draw(t, "name"), Start: seconds.Draw(t, "start"), Drained: seconds.Draw(t, "drained"),
				Back: seconds.Draw(t, "back"), Done: seconds.Draw(t, "done"), Waits: name.Draw(t, "waits"),
				Moves: []plan.Move{{Pod: name.Draw(t, "pod"), To: name.Draw(t, "to"), At: rapid.Float64().Draw(t, "at")}},
			})
		}
		p.Warnings = []string{name.Draw(t, "warning")}
		p.Plan.Warnings = []cluster.Finding{{
			Severity: cluster.Warning, Code: name.Draw(t, "code"), Message: name.Draw(t, "message"), Hint: name.Draw(t, "hint"),
			Object: cluster.Object{Kind: name.Draw(t, "kind"), Name: name.Draw(t, "object")},
		}}
		canvas := report.Canvas{Columns: rapid.IntRange(39, 200).Draw(t, "columns"), Lines: rapid.IntRange(0, 60).Draw(t, "lines")}
		for _, v := range []planView{viewFor(canvas, "text"), viewFor(canvas, "wide"), viewAsked(canvas)} {
			for line := range strings.Lines(v.text(p)) {
				line = strings.TrimSuffix(line, "\n")
				if n := utf8.RuneCountInString(line); n > canvas.Columns || line != report.Printable(line) || strings.Contains(line, "\t") {
					t.Fatalf("%d of %d cells: %q", n, canvas.Columns, line)
				}
			}
		}
	})
}

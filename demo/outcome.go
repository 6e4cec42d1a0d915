// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
	"refit.dev/refit/witness"
)

// Outcome is how the demo went.
type Outcome struct {
	// Nodes is how many nodes there were to maintain.
	Nodes int
	// Run is what refit says of its run.
	Run run.Outcome
	// Verdict is what the witness says; nil if the run was interrupted.
	Verdict *witness.Verdict
	// Report is the file that the report of the run is in; empty if the run was
	// interrupted, or the report could not be written: then unreported says why.
	Report     string
	unreported error
	// Restored is what came back of a namespace that was deleted; nil if the run was
	// interrupted, or unrestored says why.
	Restored   *Restored
	unrestored error
	// Took is how long the run lasted, OneByOne the sum of the times that the
	// nodes took: what it would have been with one node at a time.
	Took, OneByOne time.Duration
}

// Faults says what did not go as it should; nothing if all is well.
func (o *Outcome) Faults() []string {
	var out []string
	if o.Run.Result != event.ResultDone {
		out = append(out, fmt.Sprintf("the run ended %s: %s", o.Run.Result, o.Run.Reason))
	}
	if o.unreported != nil {
		out = append(out, o.unreported.Error())
	}
	if o.unrestored != nil {
		out = append(out, o.unrestored.Error())
	}
	if r := o.Restored; r != nil && r.Back != r.Objects {
		out = append(out, fmt.Sprintf("of the %d objects that were deleted %d are back", r.Objects, r.Back))
	}
	if o.Verdict == nil {
		return out
	}
	out = append(out, o.Verdict.Faults()...)
	for i := range o.Verdict.Nodes {
		if n := &o.Verdict.Nodes[i]; !n.Maintained() {
			out = append(out, fmt.Sprintf("node %s: cordoned %d times, rebooted %d times, uncordoned %d times",
				n.Name, n.Cordons, n.Reboots, n.Uncordons))
		}
	}
	return out
}

// Summary is the report at the end, a line each.
func (o *Outcome) Summary() []string {
	v := o.Verdict
	if v == nil {
		return nil
	}
	row := func(what, format string, args ...any) string {
		return fmt.Sprintf("  %-16s", what) + fmt.Sprintf(format, args...)
	}
	lines := []string{
		"What the witness saw, by watches of its own and the audit log of the API server:",
		row("evictions", "%d accepted, %d refused by a budget", v.Evictions, v.Refused),
		row("moves per pod", "%.2f (%d pods had to leave their node)", v.MovesPerPod(), v.Replicas),
		row("busiest moment", "%d of %d nodes out at once: %s", v.Busiest.Out, len(v.Nodes), strings.Join(v.Busiest.Nodes, ", ")),
		row("time", "%s", seconds(o.Took)),
		row("one at a time", "%s, %.1f times as long (the sum of what each node took)",
			seconds(o.OneByOne), o.OneByOne.Seconds()/o.Took.Seconds()),
	}
	if len(v.Dips) > 0 {
		lines = append(lines, row("dips", "%d times a budget had less than it requires", len(v.Dips)))
	}
	for _, fault := range o.Faults() {
		lines = append(lines, "  FAULT: "+fault)
	}
	if o.Report != "" {
		lines = append(lines, row("report", "%s", o.Report))
	}
	if r := o.Restored; r != nil {
		lines = append(lines, fmt.Sprintf("deleted objects restored %d/%d, %s without an API server", r.Back, r.Objects, seconds(r.Outage)))
	}
	return append(lines,
		fmt.Sprintf("nodes maintained %d/%d", v.Maintained(), o.Nodes),
		fmt.Sprintf("broken budgets %d", v.BrokenBudgets()))
}

func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

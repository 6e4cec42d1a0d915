// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// narrator puts events into words.
type narrator struct {
	wide   bool                      // a line for each pod that left or stayed, too
	dryRun string                    // " (dry run)", if it is one
	told   map[event.Pod]event.Cause // what was last said of a pod that waits
}

func newNarrator(wide bool, dryRun string) *narrator {
	n := &narrator{wide: wide, told: map[event.Pod]event.Cause{}}
	if dryRun != "" {
		n.dryRun = " (" + dryRun + ")"
	}
	return n
}

// lines returns the lines of a log that e is worth, without their times. p is
// the progress with e applied.
func (n *narrator) lines(e event.Event, p *progress) []string {
	switch e.Type {
	case event.RunStarted:
		if e.Run == "" {
			return nil
		}
		return []string{fmt.Sprintf("run %s: %s", printableLine(e.Run), phrase.Count(len(e.Nodes), "node"))}
	case event.NodePhase:
		if text := phaseText(e, p); text != "" {
			return []string{printableLine(e.Node) + "  " + text}
		}
		return nil
	case event.NodeDrained:
		return []string{fmt.Sprintf("%s  drained in %s%s", printableLine(e.Node), seconds(e.Seconds), tally(e.Counts)) + n.dryRun}
	case event.NodeOutOfService, event.NodeInService:
		return []string{printableLine(e.Node) + "  " + printableLine(e.Message) + n.dryRun}
	case event.NodeFailed:
		return withHint(printableLine(e.Node)+"  failed: "+printableLine(e.Message), e.Hint)
	case event.BackingUp:
		return []string{"saving " + printableLine(e.Message)}
	case event.BackedUp:
		return []string{"saved and proven in " + seconds(e.Seconds) + ": " + printableLine(e.Message)}
	case event.Fetching:
		return []string{"fetching " + printableLine(e.Message) + " on " + phrase.Count(len(e.Nodes), "machine")}
	case event.Fetched:
		return []string{"fetched " + printableLine(e.Message) + " in " + seconds(e.Seconds)}
	case event.StageStarted:
		if len(e.Nodes) == 0 {
			return []string{"stage: " + printableLine(e.Message)}
		}
		return []string{"stage: " + printableLine(e.Message) + ", " + phrase.Count(len(e.Nodes), "node")}
	case event.Raising:
		return []string{"control plane: " + printableLine(e.Message)}
	case event.Restoring:
		return []string{printableLine(e.Message)}
	case event.StageDone:
		return []string{"stage done: " + printableLine(e.Message)}
	case event.ServiceProbed:
		return []string{printableLine(e.Message)}
	case event.APILost, event.APIBack, event.ServiceLost, event.ServiceBack:
		return []string{printableLine(e.Node) + "  " + printableLine(e.Message)}
	case event.CommandOutput:
		return []string{printableLine(e.Node) + "  | " + printableLine(e.Message)}
	case event.ObjectFailed:
		return withHint(objectText(e)+" failed: "+printableLine(e.Message), e.Hint)
	case event.Warning:
		return withHint(warningText(e), e.Hint)
	}
	if e.Pod == nil {
		return nil
	}
	return n.podLines(e)
}

func (n *narrator) podLines(e event.Event) []string {
	line := printableLine(e.Node) + "  "
	pod := printableLine(e.Pod.String())
	switch {
	case e.Type == event.PodEvicted:
		return []string{line + "evicted " + pod + n.dryRun}
	case e.Type == event.PodBlocked && e.Blocker != nil && n.worth(*e.Pod, e.Blocker.Cause):
		return withHint(line+pod+" waits: "+printableLine(e.Blocker.Message), e.Blocker.Hint)
	case e.Type == event.PodGone && n.wide:
		if e.Seconds == 0 { // nobody knows since when it was leaving
			return []string{line + "gone " + pod}
		}
		return []string{line + "gone " + pod + " after " + seconds(e.Seconds)}
	case e.Type == event.PodSkipped && e.Reason == event.ReasonOutOfService && n.wide:
		return []string{line + "not evicted " + pod + ": " + printableLine(e.Message)}
	case e.Type == event.PodSkipped && n.wide:
		return []string{line + "left alone " + pod + ": " + printableLine(cmp.Or(e.Message, e.Reason))}
	}
	return nil
}

// worth tells whether a log should say why a pod waits. That the numbers of a
// budget changed, that a pod takes the time it was given to end, or waits for
// its turn, fills a log and helps nobody who reads it later.
func (n *narrator) worth(pod event.Pod, cause event.Cause) bool {
	news := n.told[pod] != cause
	n.told[pod] = cause
	return n.wide || (news && cause != event.CauseTerminating && cause != event.CauseQueued)
}

func phaseText(e event.Event, p *progress) string {
	switch e.Phase {
	case event.PhasePending, event.PhaseFailed: // nothing happened; NodeFailed says it
		return ""
	case event.PhaseDone:
		text := "done"
		if n := p.nodes[e.Node]; n != nil && !n.begun.IsZero() {
			text += " after " + seconds(e.Time.Sub(n.begun).Seconds())
		}
		return text
	}
	text := string(e.Phase)
	if e.Phase == event.PhaseDraining && e.Pods > 0 {
		text += ": " + phrase.Count(e.Pods, "pod") + " to go"
	}
	if e.Message != "" {
		text += ": " + printableLine(e.Message)
	}
	return text
}

// result is the line of data that e puts on stdout, or "". It has the form of
// kubectl's: resource/name and what was done to it.
func result(e event.Event, p *progress, wide bool) string {
	did := ""
	if e.Type == event.ObjectApplied {
		if e.Reason == event.ReasonUnchanged && !wide {
			return ""
		}
		return objectText(e) + " " + printableLine(e.Reason)
	}
	switch {
	case e.Type == event.NodeFailed:
		did = "failed"
	case p.run != "" && e.Type == event.NodePhase && e.Phase == event.PhaseDone:
		did = p.verb()
	case p.run != "":
	case e.Type == event.NodeCordoned:
		did = "cordoned"
	case e.Type == event.NodeUncordoned:
		did = "uncordoned"
	case e.Type == event.NodeDrained:
		did = "drained"
	case e.Type == event.NodeOutOfService:
		did = "out-of-service"
	case e.Type == event.NodeInService:
		did = "in-service"
	}
	if did == "" {
		return ""
	}
	return "node/" + printableLine(e.Node) + " " + did
}

// objectText names the object that an event is about.
func objectText(e event.Event) string {
	if e.Object == nil {
		return "object"
	}
	return printableLine(e.Object.String())
}

// tally adds what happened to pods to a sentence.
func tally(c *event.Counts) string {
	if c == nil {
		return ""
	}
	text := ": " + phrase.Count(c.Evicted, "pod") + " evicted"
	if c.Skipped > 0 {
		text += fmt.Sprintf(", %d left alone", c.Skipped)
	}
	if c.Blocked > 0 {
		text += fmt.Sprintf(", %d still there", c.Blocked)
	}
	return text
}

func warningText(e event.Event) string {
	text := "warning: "
	switch {
	case e.Object != nil:
		text += objectText(e) + ": "
	case e.Pod != nil:
		text += "pod " + printableLine(e.Pod.String()) + ": "
	case e.Node != "":
		text += "node " + printableLine(e.Node) + ": "
	}
	return text + printableLine(e.Message)
}

func withHint(line, hint string) []string {
	if hint == "" {
		return []string{line}
	}
	return []string{line, "  hint: " + printableLine(hint)}
}

// seconds writes a measured time: tenths below a minute, whole seconds above.
func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1fs", s)
	}
	return brief(time.Duration(s * float64(time.Second)))
}

// stamp writes when a line of a log happened, counted from the start.
func stamp(since time.Duration, lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i == 0 {
			fmt.Fprintf(&b, "%8.1fs  %s\n", since.Seconds(), line)
		} else {
			fmt.Fprintf(&b, "%9s  %s\n", "", line)
		}
	}
	return b.String()
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// summarize puts the last event into the lines that stand at the end of a text
// report: what was done, and what is left and why.
func summarize(e event.Event, p *progress, dryRun string) []string {
	done, failed, _, _ := p.counts()
	verb := "drained"
	if p.run != "" {
		verb = p.verb()
	}
	var lines []string
	switch {
	case len(p.nodes) > 0 && dryRun != "":
		lines = append(lines, fmt.Sprintf("%s of %s%s; nothing was changed", dryRun, phrase.Count(len(p.nodes), "node"), tally(e.Counts)))
	case len(p.nodes) > 0:
		for _, n := range p.nodes {
			if p.run == "" && n.phase == event.PhaseReadying {
				done++ // a drain waits for the return only of what is drained
			}
		}
		text := fmt.Sprintf("%d of %s %s in %s%s", done, phrase.Count(len(p.nodes), "node"), verb, seconds(e.Seconds), tally(e.Counts))
		if failed > 0 {
			text += fmt.Sprintf("; %d failed", failed)
		}
		lines = append(lines, text)
	}
	if text := verdict(e); text != "" {
		lines = append(lines, text)
	}
	for i, r := range e.Remaining {
		if i == 0 {
			lines = append(lines, phrase.Count(len(e.Remaining), "pod")+" left behind:")
		}
		lines = append(lines, remaining(r)...)
	}
	if e.Hint != "" {
		lines = append(lines, "hint: "+printableLine(e.Hint))
	}
	return lines
}

func verdict(e event.Event) string {
	text := ""
	switch e.Result {
	case event.ResultFailed:
		text = "failed"
	case event.ResultBlocked:
		text = "blocked, nothing was changed"
	case event.ResultUnfinished:
		text = "not finished"
	}
	switch {
	case e.Message == "":
		return text
	case text == "":
		return printableLine(e.Message)
	}
	return text + ": " + printableLine(e.Message)
}

func remaining(r event.Remaining) []string {
	lines := []string{fmt.Sprintf("  %s  %s: %s", printableLine(r.Node), printableLine(r.Pod.String()), printableLine(r.Blocker.Message))}
	if r.Blocker.Hint != "" {
		lines = append(lines, "    hint: "+printableLine(r.Blocker.Hint))
	}
	return lines
}

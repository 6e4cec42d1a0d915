// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"refit.dev/refit/event"
)

// A node that was drained counts as that, also if its return was waited for in vain.
func TestSummaryOfNodesThatAreNotBack(t *testing.T) {
	p := newProgress()
	for _, e := range []event.Event{
		{Type: event.RunStarted, Nodes: []string{"a", "b"}},
		{Type: event.NodeDrained, Node: "a"},
		{Type: event.NodePhase, Node: "a", Phase: event.PhaseReadying},
	} {
		p.apply(e)
	}
	lines := summarize(event.Event{Type: event.Summary, Result: event.ResultUnfinished, Message: "node a is not back"}, p, "")
	if text := strings.Join(lines, "\n"); !strings.HasPrefix(text, "1 of 2 nodes drained") || !strings.HasSuffix(text, "not finished: node a is not back") {
		t.Error(text)
	}
}

// An upgrade is called one also if it came no further than to fetch what it needs.
func TestSummaryOfAnUpgradeThatDidNotBegin(t *testing.T) {
	p := newProgress()
	for _, e := range []event.Event{
		{Type: event.RunStarted, Run: "r", Nodes: []string{"a", "b"}},
		{Type: event.Fetching, Nodes: []string{"a", "b"}},
	} {
		p.apply(e)
	}
	lines := summarize(event.Event{Type: event.Summary, Result: event.ResultUnfinished, Message: "node a: the disk is full"}, p, "")
	if !strings.HasPrefix(lines[0], "0 of 2 nodes upgraded") {
		t.Error(lines)
	}
}

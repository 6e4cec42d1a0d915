// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refit.dev/refit/event"
)

// TestScreenStaysClean plays arbitrary events, with names and messages from an
// unfriendly cluster, on terminals of arbitrary and changing size. Whatever
// comes: no control character but ours, nothing beyond the margin, exactly one
// table on the screen, and nothing of a table among the lines that scrolled away.
func TestScreenStaysClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(20, 120).Draw(t, "columns")
		p := newPlayer(columns, 40)
		p.play(event.Event{Time: start, Type: event.RunStarted, Run: "r", Nodes: nodeNames("node-01..node-08")})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			p.clock.Step(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 5).Draw(t, "resize") == 0 {
				// To less than half, and the old table would not fit the screen any more:
				// what left it at the top cannot be taken back.
				columns = rapid.IntRange(max(20, columns/2), 120).Draw(t, "columns")
				p.screen.resize(columns, 40)
			}
			e := anyEvent(t)
			e.Time = p.clock.Now()
			p.play(e)
			check(t, p.screen)
		}
	})
}

func check(t *rapid.T, s *screen) {
	shown := s.String()
	if len(s.faults) > 0 {
		t.Fatalf("faults:\n%s", shown)
	}
	for _, line := range s.scrolled {
		if strings.Contains(line, "nodes done") || strings.Contains(line, "PHASE") {
			t.Fatalf("a part of the table scrolled away:\n%s", shown)
		}
	}
	if n := strings.Count(shown, "nodes done"); n != 1 {
		t.Fatalf("%d tables on the screen:\n%s", n, shown)
	}
}

func anyEvent(t *rapid.T) event.Event {
	// 50 cells are as long as a result may be to stay on one line of most
	// terminals here; longer ones wrap, which the terminal does and may do.
	text := rapid.StringOfN(rapid.OneOf(
		rapid.RuneFrom([]rune("abc-./ 机器é\u0301\t\n\r\x1b[\x07\x7f\u009b\u202e\u200d\ufe0f😀")), rapid.Rune(),
	), 0, 50, -1)
	return event.Event{
		Type: rapid.SampledFrom([]event.Type{
			event.NodePhase, event.NodeDrained, event.NodeFailed, event.PodEvicted, event.PodBlocked,
			event.PodGone, event.CommandOutput, event.Warning, event.NodeCordoned,
		}).Draw(t, "type"),
		Node: rapid.OneOf(rapid.SampledFrom(nodeNames("node-01..node-08")), text).Draw(t, "node"),
		Phase: rapid.SampledFrom([]event.Phase{
			event.PhaseCordoning, event.PhaseDraining, event.PhaseWorking, event.PhaseUncordon, event.PhaseDone,
		}).Draw(t, "phase"),
		Pod:     &event.Pod{Namespace: "x", Name: text.Draw(t, "pod")},
		Blocker: &event.Blocker{Cause: event.CauseBudget, Message: text.Draw(t, "why")},
		Message: text.Draw(t, "message"),
		Hint:    text.Draw(t, "hint"),
		Pods:    rapid.IntRange(0, 99999).Draw(t, "pods"),
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
)

// wants fails for every part that is not in the page.
func wants(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("%q is not in the page", part)
		}
	}
}

func TestSameBytes(t *testing.T) {
	s := newSample(40, 5)
	s.fail, s.killedAfter = 5, 20
	first := s.write(t)
	for range 5 {
		if s.write(t) != first {
			t.Fatal("the same run has another page")
		}
	}
}

func TestPage(t *testing.T) {
	s := newSample(12, 3)
	s.simulate(t)
	// The second eviction of a pod that the run itself has caused to be made.
	s.emit(s.end, event.Event{Type: event.PodEvicted, Node: "node-12", Pod: &event.Pod{Namespace: "shop", Name: "new", UID: "new-0-0"}})
	s.emit(s.end, event.Event{Type: event.Warning, Node: "node-03", Message: "something to read", Hint: "something to do"})
	wants(t, s.write(t),
		"12 of 12 nodes maintained", `<span class="state good">finished</span>`, "37 evictions of 36 pods", "1.03",
		"1 eviction was that of a replacement that had to move on", "budget shop/app-00 to allow a disruption", "a free slot",
		"at least 23.4 s by its estimates", "planned from 0:00", "something to read", "something to do", "the machine to be Ready again",
		`<dd class="value">0</dd><dd class="note"><bdi>of 6</bdi></dd>`)
	if strings.Contains(s.write(t), "<script") {
		t.Error("there is a script")
	}
}

func TestPageOfOtherEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape func(*sampleRun)
		want  []string
	}{
		{"nothing but created", func(s *sampleRun) {
			s.phase = run.PhaseKilled
			s.records, s.events = s.records[:1], nil
		}, []string{"0 of 12 nodes maintained", "interrupted", "Nothing was done to it.", "not begun"}},
		{"killed in the middle of a node", func(s *sampleRun) {
			s.phase = run.PhaseKilled
			s.records, s.events = s.records[:20], s.events[:40]
		}, []string{"interrupted", "not finished", "not ended", "refit runs resume carries on"}},
		{"running", func(s *sampleRun) {
			s.phase, s.end = run.PhaseRunning, begin.Add(time.Minute)
			s.records, s.events = s.records[:20], s.events[:40]
		}, []string{"still running", "at work", "under way", "as it was at 2026-11-22 15:05:05 UTC"}},
		{"aborted", func(s *sampleRun) {
			s.phase = run.PhaseAborted
			s.record(s.end.Add(time.Hour), run.Record{Kind: run.KindAborted})
		}, []string{"aborted", "29.3 s"}},
		{"failed", func(s *sampleRun) {
			s.phase, s.fail, s.records, s.events = run.PhaseStopped, 5, nil, nil
			s.simulate(t)
		}, []string{"11 of 12", "1 failed", "timed out", "look at the machine and its kubelet", "failure"}},
		{"no history", func(s *sampleRun) { s.events = nil }, []string{"This run has no history", "12 of 12", "Pods evicted"}},
		{"a plan of far too much time", func(s *sampleRun) { s.plan.Nodes[3].End = time.Hour }, []string{"its bars are cut off on the right"}},
		{"a plan of far too much time, stopped", func(s *sampleRun) {
			s.phase, s.plan.Nodes[3].End = run.PhaseStopped, time.Hour
		}, []string{"its bars are cut off on the right"}},
		{"no plan", func(s *sampleRun) { s.plan = Planned{} }, []string{"one node at a time: "}},
		{"resumed", func(s *sampleRun) {
			s.killedAfter, s.records, s.events = 7, nil, nil
			s.simulate(t)
		}, []string{"refit was not running for 26 h", "Taken up", "2 times"}},
		{"a budget exceeded", func(s *sampleRun) { s.budget(s.end, 2, 3) }, []string{"3 of 1, exceeded", `<dd class="note"><bdi>shop/app-02</bdi></dd>`}},
	} {
		s := newSample(12, 3)
		s.simulate(t)
		c.shape(s)
		page := s.write(t)
		for _, part := range c.want {
			if !strings.Contains(page, part) {
				t.Errorf("%s: %q is not in the page", c.name, part)
			}
		}
	}
}

// A clock that is set back at whatever moment of a run: no bar is of a negative
// width, and the page says what the journal does.
func TestClockSetBack(t *testing.T) {
	for at := 2; at < 60; at++ {
		s := newSample(12, 3)
		s.killedAfter = 7
		s.simulate(t)
		for i := range s.records[at:] {
			s.records[at+i].Time = s.records[at+i].Time.Add(-3 * time.Second)
		}
		page := s.write(t)
		wants(t, page, "12 of 12 nodes maintained", "Taken up")
		if strings.Contains(page, `width="-`) || strings.Contains(page, ` x="-`) {
			t.Errorf("before record %d: something has a negative width or place", at)
		}
	}
}

// TestGaps: time in which nobody worked on the run is drawn narrow, and places
// on the axis are told as the time that they really were.
func TestGaps(t *testing.T) {
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	line := newTimeline(&run.Status{Phase: run.PhaseFinished}, []run.Record{
		{Kind: run.KindCreated, Time: at(-5)},
		{Kind: run.KindOpened, Time: at(0)},
		{Kind: run.KindStep, Time: at(30)}, // killed; its history knows more
		{Kind: run.KindOpened, Time: at(3600)},
		{Kind: run.KindFinished, Time: at(3660)},
		{Kind: run.KindAborted, Time: at(9999)},
	}, at(99999))
	line.saw(at(40))
	line.saw(at(3601))
	if line.worked() != 100*time.Second || line.gap(0) != 3*time.Second {
		t.Errorf("worked %s, gap %s", line.worked(), line.gap(0))
	}
	for _, c := range []struct{ at, place int }{{-9, 0}, {10, 10}, {40, 40}, {1000, 40}, {3600, 43}, {3610, 53}, {3660, 103}, {9999, 103}} {
		if got := line.place(at(c.at)); got != time.Duration(c.place)*time.Second {
			t.Errorf("second %d is at %s, want %d s", c.at, got, c.place)
		}
	}
	for _, c := range []struct{ place, at int }{{0, 0}, {39, 39}, {41, 40}, {43, 3600}, {103, 3660}} {
		if got := line.elapsed(time.Duration(c.place) * time.Second); got != time.Duration(c.at)*time.Second {
			t.Errorf("place %d is %s after the begin, want %d s", c.place, got, c.at)
		}
	}
	if got := line.endBefore(at(3600)); !got.Equal(at(40)) {
		t.Errorf("the first session ends at %s", got)
	}
}

func TestTicks(t *testing.T) {
	for _, length := range []time.Duration{time.Millisecond, time.Second, 29 * time.Second, time.Hour, 90 * time.Hour, 10000 * time.Hour} {
		s := scale{&timeline{sessions: []session{{from: begin, to: begin.Add(length)}}}, length}
		if n := len(s.ticks()); n < 1 || n > 7 {
			t.Errorf("%s: %d ticks", length, n)
		}
	}
}

func TestWaits(t *testing.T) {
	var w waits
	w.init()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	emit := func(seconds int, node, pod string, cause event.Cause, budgets ...string) {
		e := event.Event{Time: at(seconds), Node: node, Pod: &event.Pod{UID: pod}, Blocker: &event.Blocker{Cause: cause, Message: string(cause)}}
		for _, b := range budgets {
			e.Blocker.Budgets = append(e.Blocker.Budgets, event.Budget{Namespace: "shop", Name: b})
		}
		w.blocked(e)
	}
	over := func(seconds int, node, pod string) {
		w.over(event.Event{Time: at(seconds), Node: node, Pod: &event.Pod{UID: pod}})
	}
	emit(0, "a", "1", event.CauseBudget, "cart")
	emit(1, "b", "2", event.CauseBudget, "cart")
	emit(2, "a", "1", event.CauseBudget, "cart") // the same, with other numbers
	over(5, "a", "1")
	over(5, "a", "1") // it waits no more
	emit(6, "a", "1", event.CauseVolume)
	emit(7, "b", "2", event.CauseTwoBudgets, "cart", "web")
	w.left("a", at(10))
	w.closeAll(at(20))
	got := ""
	for _, x := range sorted(w.by) {
		got += fmt.Sprintf("%s: %d pods on %d nodes, %s, at most %s\n", x.key.wording(), len(x.pods), len(x.nodes), duration(x.total), duration(x.longest))
	}
	want := "somebody to remove one of the budgets shop/cart, shop/web: 1 pods on 1 nodes, 13 s, at most 13 s\n" +
		"budget shop/cart to allow a disruption: 2 pods on 2 nodes, 11 s, at most 6 s\n" +
		"its volumes to be detached: 1 pods on 1 nodes, 4 s, at most 4 s\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(w.node["a"]) != 2 || len(w.node["b"]) != 2 {
		t.Errorf("by node: %v", w.node)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", -1: "0 s", 3: "1 ms", 849 * time.Millisecond: "849 ms", 3200 * time.Millisecond: "3.2 s", 59960 * time.Millisecond: "1 min",
		125 * time.Second: "2 min 5 s", 3600 * time.Second: "1 h", 200 * time.Minute: "3 h 20 min", 73 * time.Hour: "3 d 1 h",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-1: "0:00", 200 * time.Millisecond: "0:00.2", 59970 * time.Millisecond: "1:00", 3723 * time.Second: "1:02:03",
	} {
		if got := clock(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
	for _, cause := range []event.Cause{
		event.CauseBudget, event.CauseBudgetUnobserved, event.CauseTwoBudgets, event.CauseQuorum, event.CauseFinalizer, event.CauseKubelet,
		event.CauseTerminating, event.CauseVolume, event.CauseNoRoom, event.CauseThrottled, event.CauseQueued, event.CauseRefused, event.CauseError,
	} {
		if (waitKey{cause: cause}).wording() == string(cause) {
			t.Errorf("no words for %q", cause)
		}
	}
}

// TestThin: however many values there are, the extremes and the last one are
// drawn, and nothing that was not.
func TestThin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4*columns).Draw(t, "n")
		points := make([]point, n)
		for i := range points {
			points[i] = point{float64(i) / float64(n), rapid.Int32Range(0, 9).Draw(t, "y")}
		}
		out := thin(points, higher)
		most := func(p []point) int32 { return slices.MaxFunc(p, func(a, b point) int { return int(a.y - b.y) }).y }
		if most(out) != most(points) || out[len(out)-1].y != points[n-1].y || len(out) > n || len(out) > 3*columns {
			t.Fatalf("%d points of at most %d became %d of at most %d", n, most(points), len(out), most(out))
		}
		if !slices.IsSortedFunc(out, func(a, b point) int {
			switch {
			case a.x < b.x:
				return -1
			case a.x > b.x:
				return 1
			}
			return 0
		}) {
			t.Fatal("not in the order of time")
		}
	})
}

// TestExtremes: the table behind a chart loses no peak, and no narrowest allowance.
func TestExtremes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(mostSamples+1, 300).Draw(t, "n")
		a, b := make([]point, n), make([]point, n)
		var most, least int32 = -1, 99
		for i := range a {
			x := float64(i) / float64(n)
			a[i], b[i] = point{x, rapid.Int32Range(0, 9).Draw(t, "a")}, point{x, rapid.Int32Range(0, 9).Draw(t, "b")}
			most, least = max(most, a[i].y), min(least, b[i].y)
		}
		pairs := merge(a, b)
		out := extremes(pairs, 1.0/mostSamples, lower)
		var gotMost, gotLeast int32 = -1, 99
		for _, p := range out {
			gotMost, gotLeast = max(gotMost, p.a), min(gotLeast, p.b)
		}
		if len(out) > mostSamples+1 || gotMost != most || gotLeast != least {
			t.Fatalf("%d lines from %d to %d, want %d to %d", len(out), gotLeast, gotMost, least, most)
		}
	})
}

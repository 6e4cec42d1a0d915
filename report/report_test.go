// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	testclock "k8s.io/utils/clock/testing"

	"refit.dev/refit/event"
)

// TestTranscripts plays the events of testdata/transcripts and compares what is shown.
//
//	table columns=N lines=N at=S   the table at second S
//	log [format=F] [dry-run=D]     both streams where there is no terminal
//	screen columns=N lines=N       the terminal after the last event, and what scrolled away;
//	       [resize=NxM] [end]      then resized and redrawn, or closed
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			events := parseEvents(t, d.Input)
			switch d.Cmd {
			case "table":
				return drawTable(t, d, events)
			case "log":
				return writeLog(t, d, events)
			case "screen":
				return playScreen(t, d, events)
			}
			d.Fatalf(t, "no command %q", d.Cmd)
			return ""
		})
	})
}

func argument(t *testing.T, d *datadriven.TestData, name string, otherwise int) int {
	t.Helper()
	if d.HasArg(name) {
		d.ScanArgs(t, name, &otherwise)
	}
	return otherwise
}

func drawTable(t *testing.T, d *datadriven.TestData, events []event.Event) string {
	p := newProgress()
	for _, e := range events {
		p.apply(e)
	}
	var b strings.Builder
	columns := argument(t, d, "columns", 80)
	for _, r := range table(p, at(float64(argument(t, d, "at", 0))), columns, argument(t, d, "lines", 24)) {
		if cells(r.text) >= columns {
			t.Errorf("line of %d cells on a screen of %d: %s", cells(r.text), columns, r.text)
		}
		b.WriteString(r.text + "\n")
	}
	return b.String()
}

func writeLog(t *testing.T, d *datadriven.TestData, events []event.Event) string {
	var out, errw bytes.Buffer
	o := Options{Out: &out, Err: &errw}
	if d.HasArg("format") {
		d.ScanArgs(t, "format", &o.Format)
	}
	if d.HasArg("dry-run") {
		d.ScanArgs(t, "dry-run", &o.DryRun)
		o.DryRun = strings.ReplaceAll(o.DryRun, "-", " ")
	}
	r := New(o)
	for _, e := range events {
		r.Emit(e)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	text := ""
	if errw.Len() > 0 {
		text += "stderr:\n" + errw.String()
	}
	if out.Len() > 0 {
		text += "stdout:\n" + out.String()
	}
	return text
}

func playScreen(t *testing.T, d *datadriven.TestData, events []event.Event) string {
	p := newPlayer(argument(t, d, "columns", 80), argument(t, d, "lines", 24))
	for _, e := range events {
		p.play(e)
	}
	if d.HasArg("resize") {
		var size string
		d.ScanArgs(t, "resize", &size)
		columns, lines, _ := strings.Cut(size, "x")
		c, _ := strconv.Atoi(columns)
		l, _ := strconv.Atoi(lines)
		p.screen.resize(c, l)
		p.frame()
	}
	if d.HasArg("end") {
		p.close(t)
	}
	return p.screen.String()
}

// player runs a reporter's printing by hand, frame by frame, on a screen that
// is both of its streams.
type player struct {
	*reporter
	clock  *testclock.FakeClock
	screen *screen
}

func newPlayer(columns, lines int) *player {
	s, clock := newScreen(columns, lines), testclock.NewFakeClock(start)
	r := &reporter{progress: newProgress(), narrator: newNarrator(false, "")}
	r.Options = Options{Out: s, Err: s, Format: "text", Clock: clock}
	r.live = &live{term: s, color: true, size: func() (int, int) { return s.columns, s.lines }}
	return &player{r, clock, s}
}

func (p *player) play(e event.Event) {
	if e.Time.After(p.clock.Now()) {
		p.clock.SetTime(e.Time)
	}
	p.progress.apply(e)
	p.show(e)
	p.frame()
}

func (p *player) frame() { p.draw() }

func (p *player) close(t *testing.T) {
	if err := p.live.clear(); err != nil {
		t.Fatal(err)
	}
}

// TestReporterLive runs the real goroutine with the real clock: what is on the
// screen at the end does not depend on when frames were drawn.
func TestReporterLive(t *testing.T) {
	s := newScreen(100, 12)
	r := New(Options{Out: s, Err: s, Live: true, Color: true, Size: func() (int, int) { return 100, 12 }})
	for i := range 50 {
		name := fmt.Sprintf("node-%02d", i)
		r.Emit(event.Event{Time: time.Now(), Type: event.NodePhase, Node: name, Phase: event.PhaseDraining, Pods: 3})
		r.Emit(event.Event{Time: time.Now(), Type: event.NodeDrained, Node: name})
	}
	r.Emit(event.Event{Time: time.Now(), Type: event.Summary, Result: event.ResultDone, Counts: &event.Counts{Evicted: 7}, Seconds: 2})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Emit(event.Event{Type: event.Warning, Message: "too late"})
	if err := r.Close(); err != nil {
		t.Fatal("second Close:", err)
	}
	all := s.String()
	if len(s.faults) > 0 || strings.Count(all, "drained\n")+strings.Count(all, "drained ") != 51 ||
		!strings.Contains(all, "50 of 50 nodes drained in 2.0s: 7 pods evicted") || strings.Contains(all, "PHASE") {
		t.Errorf("the screen at the end:\n%s", all)
	}
}

// TestSlowReader shows that nobody who emits waits for a stream that is not read.
func TestSlowReader(t *testing.T) {
	gate := make(chan struct{})
	w := writerFunc(func(p []byte) (int, error) { <-gate; return len(p), nil })
	r := New(Options{Out: w, Err: w, Format: "json"})
	for range 10_000 {
		r.Emit(event.Event{Type: event.Warning, Message: "x"})
	}
	close(gate)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteErrorIsReported(t *testing.T) {
	w := writerFunc(func([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") })
	r := New(Options{Out: w, Err: w})
	r.Emit(event.Event{Type: event.NodeDrained, Node: "n"})
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("Close returned %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

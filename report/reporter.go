// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/event"
)

// formats are the values of Options.Format. json and yaml write every event to
// Out, one line or one document each; text and wide write results to Out and
// everything else to Err, wide with a line for each pod that left or stayed.
var formats = []string{"text", "wide", "json", "yaml"}

// Options says where and how to report.
type Options struct {
	// Out takes data alone, Err progress, warnings and the summary.
	Out, Err io.Writer
	// Format is text, wide, json or yaml; "" is text.
	Format string
	// DryRun is added to every result, so that nobody takes it for one: "dry run".
	DryRun string
	// Live says that Err is a terminal on which a table may be redrawn. It has no
	// effect on json and yaml.
	Live bool
	// Color says that Err understands colours.
	Color bool
	// Size is the size of the terminal at present, in cells. It is asked before
	// each frame, so it need not tell when it changes. Needed if Live.
	Size func() (columns, lines int)
	// Clock is the time that elapsed times are shown by; nil is the real one.
	Clock clock.WithTicker
}

// Reporter shows events. Emit never waits for whoever reads: what is written
// slowly is kept in memory.
type Reporter interface {
	event.Sink
	// Close shows what was emitted before it and returns the first error that
	// writing met. Events emitted after it are lost.
	Close() error
}

// frame is how often the table is redrawn at most, and at least: the times in it move on.
const frame = 100 * time.Millisecond

type reporter struct {
	Options
	live     *live // nil for a log
	progress *progress
	narrator *narrator

	mu     sync.Mutex
	queue  []event.Event
	closed bool
	wake   chan struct{} // capacity 1: the queue or closed changed
	done   chan struct{}
	err    error // the writing goroutine's; to be read after done
}

// New starts a Reporter. It panics on a Format that does not exist: the command
// line has checked it.
func New(o Options) Reporter {
	if o.Format == "" {
		o.Format = "text"
	}
	if !slices.Contains(formats, o.Format) {
		panic(fmt.Sprintf("report: no format %q", o.Format))
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	r := &reporter{
		Options: o, progress: newProgress(), narrator: newNarrator(o.Format == "wide", o.DryRun),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if o.Live && o.Format != "json" && o.Format != "yaml" {
		r.live = &live{term: o.Err, size: o.Size, color: o.Color}
	}
	go r.write()
	return r
}

// Emit queues e.
func (r *reporter) Emit(e event.Event) {
	r.mu.Lock()
	if !r.closed {
		r.queue = append(r.queue, e)
	}
	r.mu.Unlock()
	r.poke()
}

// Close may be called more than once.
func (r *reporter) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.poke()
	<-r.done
	return r.err
}

func (r *reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) take() (events []event.Event, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, r.queue = r.queue, nil
	return events, r.closed
}

// write is the only goroutine that touches the progress and the streams.
func (r *reporter) write() {
	defer close(r.done)
	var tick <-chan time.Time
	if r.live != nil {
		ticker := r.Clock.NewTicker(frame)
		defer ticker.Stop()
		tick = ticker.C()
	}
	for {
		select {
		case <-tick:
			r.draw()
		case <-r.wake:
			events, closed := r.take()
			for _, e := range events {
				r.progress.apply(e)
				r.show(e)
			}
			if closed {
				if r.live != nil {
					r.note(r.live.clear())
				}
				return
			}
			if r.live != nil && r.live.drawn == nil {
				r.draw() // something was written where the table had been
			}
		}
	}
}

// draw shows the table while there is something to follow.
func (r *reporter) draw() {
	if len(r.progress.nodes) > 0 && r.progress.summary == nil {
		r.note(r.live.draw(r.progress, r.Clock.Now()))
	}
}

// note keeps the first error.
func (r *reporter) note(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("write the report: %w", err)
	}
}

func (r *reporter) show(e event.Event) {
	switch r.Format {
	case "json":
		r.note(writeJSON(r.Out, e))
	case "yaml":
		r.note(writeYAML(r.Out, e))
	default:
		r.showText(e)
	}
}

// lasting tells whether e is to stay on the screen above the table. What a run
// was allowed by flags is no news: it was shown when the run was planned.
func (r *reporter) lasting(e event.Event) bool {
	switch e.Type {
	case event.Warning:
		return r.progress.run == "" || e.Reason != event.ReasonAllowed
	case event.NodeFailed, event.ObjectFailed, event.CommandOutput:
		return true
	}
	return false
}

func (r *reporter) showText(e event.Event) {
	text, data := "", result(e, r.progress, r.Format == "wide")
	if data != "" && r.DryRun != "" {
		data += " (" + r.DryRun + ")"
	}
	switch {
	case e.Type == event.Summary:
		for _, line := range summarize(e, r.progress, r.DryRun) {
			text += line + "\n"
		}
	case r.live == nil:
		if lines := r.narrator.lines(e, r.progress); len(lines) > 0 {
			text = stamp(e.Time.Sub(r.progress.started), lines)
		}
	case r.lasting(e):
		// The table has no place for what has to be read later; it moves down.
		for _, line := range r.narrator.lines(e, r.progress) {
			text += line + "\n"
		}
	}
	if text == "" && data == "" {
		return
	}
	if r.live != nil {
		r.note(r.live.clear())
	}
	if text != "" {
		_, err := io.WriteString(r.Err, text)
		r.note(err)
	}
	if data != "" {
		_, err := io.WriteString(r.Out, data+"\n")
		r.note(err)
	}
}

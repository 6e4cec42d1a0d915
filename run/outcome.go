// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
)

// Outcome is how a process left a run. Result goes with an exit code of the
// command line; Reason and Hint say why it is not ResultDone.
type Outcome struct {
	Run          string
	Result       event.Result
	Reason, Hint string
	Status       *Status
	// NothingLeft: the run was closed before, so that nothing was done and no summary told.
	NothingLeft bool
}

// close sums the run up, in the journal and for whoever listens. untidy says what
// of its own the run could not take back.
func (e *engine) close(ctx context.Context, reason string, untidy error, took time.Duration) Outcome {
	e.mu.Lock()
	o := e.sumUp(reason, untidy)
	counts, remaining := e.counts, e.remaining
	e.mu.Unlock()

	r := Record{Kind: KindStopped, Result: o.Result, Reason: o.Reason}
	if e.left() == 0 && e.status.Count(Failed) == 0 && untidy == nil {
		r.Kind = KindFinished
	}
	if err := e.record(r); err != nil {
		// The run is over in any case; the journal merely does not say so.
		slog.DebugContext(ctx, "the end of the run was not recorded", "err", err)
		if o.Result == event.ResultDone {
			o.Result, o.Reason = event.ResultUnfinished, err.Error()
		}
		if o.Hint == "" {
			o.Hint = "refit runs resume " + e.spec.Run
		}
		o.Hint = "make room for the journal, then: " + o.Hint
	}
	o.Status = e.status
	e.emit(event.Event{
		Type: event.Summary, Result: o.Result, Message: cmp.Or(o.Reason, e.proof), Hint: o.Hint,
		Counts: &counts, Seconds: took.Seconds(), Remaining: remaining,
	})
	return o
}

// sumUp makes the Outcome of where the nodes stand.
func (e *engine) sumUp(reason string, untidy error) Outcome {
	o := Outcome{Run: e.spec.Run, Result: event.ResultDone}
	var failed, timedOut, replaced, gone []string
	for _, name := range slices.Sorted(maps.Keys(e.status.Nodes)) {
		switch n := e.status.Nodes[name]; {
		case n.Standing == Failed && n.Timeout:
			timedOut = append(timedOut, name)
		case n.Standing == Failed:
			failed = append(failed, name)
		case n.Standing == Skipped && n.Replaced:
			replaced = append(replaced, name)
		case n.Standing == Skipped:
			gone = append(gone, name)
		}
	}
	var parts []string
	say := func(result event.Result, names []string, what string) {
		if len(names) == 0 {
			return
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", phrase.Count(len(names), "node"), what, few(names)))
		if result == event.ResultFailed || o.Result == event.ResultDone {
			o.Result = result
		}
	}
	say(event.ResultFailed, failed, "failed")
	say(event.ResultFailed, replaced, "replaced by another one of the same name, which was left alone")
	say(event.ResultUnfinished, timedOut, "timed out")
	say(event.ResultDone, gone, "deleted meanwhile")
	if untidy != nil {
		o.Hint = "refit runs resume " + e.spec.Run + " tries again"
	}
	for _, why := range []string{reason, text(untidy)} {
		if why != "" {
			parts = append(parts, why)
			if o.Result == event.ResultDone {
				o.Result = event.ResultUnfinished
			}
		}
	}
	o.Reason = strings.Join(parts, "; ")
	if left := e.status.Count(Waiting) + e.status.Count(Begun); left > 0 || len(failed)+len(timedOut) > 0 {
		o.Hint = fmt.Sprintf("carry on: refit runs resume %s; give up and uncordon: refit runs abort %s", e.spec.Run, e.spec.Run)
	}
	if e.refused != "" && o.Result == event.ResultUnfinished {
		o.Result = event.ResultBlocked
		o.Hint = fmt.Sprintf("%s; then refit runs resume %s, or refit runs abort %s and begin anew with --no-backup", e.refused, e.spec.Run, e.spec.Run)
	}
	return o
}

// text is that of an error, or nothing.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// stopReason says why ctx ended.
func stopReason(ctx context.Context) string {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		return "interrupted"
	}
	return cause.Error()
}

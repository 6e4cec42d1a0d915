// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"refit.dev/refit/run"
)

// timeline puts the moments of a run on an axis. A run is worked on in sessions,
// one for each process that took it up; the time between them, which may be
// days, is drawn as a narrow gap.
type timeline struct {
	sessions []session
}

// session is the time in which a process worked on the run.
type session struct {
	from, to time.Time
	open     bool // how it ended was not written down: to is the last that was heard of it
}

// gapShare is how wide a gap is drawn at most, of the time that was worked.
const gapShare = 0.03

func newTimeline(status *run.Status, records []run.Record, now time.Time) *timeline {
	t := &timeline{}
	for _, r := range records {
		switch {
		case r.Kind == run.KindOpened:
			t.sessions = append(t.sessions, session{from: r.Time, to: r.Time, open: true})
		case len(t.sessions) == 0 || r.Kind == run.KindAborted: // no work
		default:
			last := &t.sessions[len(t.sessions)-1]
			if last.open {
				last.to = r.Time
				last.open = r.Kind != run.KindStopped && r.Kind != run.KindFinished
			}
		}
	}
	if len(t.sessions) == 0 {
		t.sessions = []session{{from: records[0].Time, to: records[0].Time}}
	}
	if last := &t.sessions[len(t.sessions)-1]; status.Phase == run.PhaseRunning && now.After(last.to) {
		last.to, last.open = now, false
	}
	return t
}

// saw prolongs the session of a process that was killed to the last that it told.
func (t *timeline) saw(at time.Time) {
	for i := len(t.sessions) - 1; i >= 0; i-- {
		s := &t.sessions[i]
		if at.Before(s.from) {
			continue
		}
		if s.open && at.After(s.to) {
			s.to = at
		}
		return
	}
}

func (t *timeline) begin() time.Time { return t.sessions[0].from }
func (t *timeline) end() time.Time   { return t.sessions[len(t.sessions)-1].to }

// endBefore is the end of the last session that was begun before at.
func (t *timeline) endBefore(at time.Time) time.Time {
	end := at
	for _, s := range t.sessions {
		if s.from.Before(at) && s.to.Before(at) {
			end = s.to
		}
	}
	return end
}

// worked is how long the run was worked on.
func (t *timeline) worked() time.Duration {
	var sum time.Duration
	for _, s := range t.sessions {
		sum += s.to.Sub(s.from)
	}
	return sum
}

// gap is how wide the pause after session i is drawn.
func (t *timeline) gap(i int) time.Duration {
	if i+1 >= len(t.sessions) {
		return 0
	}
	pause := t.sessions[i+1].from.Sub(t.sessions[i].to)
	return max(0, min(pause, time.Duration(gapShare*float64(t.worked())))) // a clock may have been set back
}

// width is the length of the axis; never 0. Planned times may reach beyond the
// real ones.
func (t *timeline) width(planned time.Duration) time.Duration {
	w := t.worked()
	for i := range t.sessions {
		w += t.gap(i)
	}
	return max(w, planned, time.Millisecond)
}

// place puts a moment on the axis. What is between two sessions is put at the
// end of the earlier one, what is before the first at its begin.
func (t *timeline) place(at time.Time) time.Duration {
	var x time.Duration
	for i, s := range t.sessions {
		if i+1 == len(t.sessions) || at.Before(t.sessions[i+1].from) {
			return x + min(max(at.Sub(s.from), 0), s.to.Sub(s.from))
		}
		x += s.to.Sub(s.from) + t.gap(i)
	}
	return x
}

// elapsed is how long after the begin of the run a place on the axis is.
func (t *timeline) elapsed(x time.Duration) time.Duration {
	for i, s := range t.sessions {
		length := s.to.Sub(s.from)
		if x <= length || i+1 == len(t.sessions) {
			return s.from.Sub(t.begin()) + x
		}
		x -= length
		if gap := t.gap(i); x < gap {
			return s.to.Sub(t.begin())
		}
		x -= t.gap(i)
	}
	return x
}

// scale turns places on an axis into percentages.
type scale struct {
	*timeline
	length time.Duration
}

func (s scale) percent(x time.Duration) float64 {
	return 100 * min(max(float64(x)/float64(s.length), 0), 1)
}

// tick is a mark on the axis.
type tick struct {
	At    string // a percentage
	Label string
	Last  bool // so far to the right that its label goes to the left of it
}

// steps are the distances that ticks may have, in seconds.
var steps = [...]float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400}

// ticks are four to eight round times on the axis, fewer on a very long one.
func (s scale) ticks() []tick {
	const most = 6
	step := steps[len(steps)-1]
	for _, candidate := range steps {
		if s.length.Seconds()/candidate <= most {
			step = candidate
			break
		}
	}
	for s.length.Seconds()/step > most {
		step *= 2
	}
	var out []tick
	for i := 0; float64(i)*step <= s.length.Seconds(); i++ {
		x := time.Duration(float64(i) * step * float64(time.Second))
		at := s.percent(x)
		out = append(out, tick{At: number(at), Label: clock(s.elapsed(x)), Last: at > 90})
	}
	return out
}

// pause is a gap on the axis.
type pause struct {
	At, Width string // percentages
	Label     string
}

func (s scale) pauses() []pause {
	var out []pause
	for i := range s.sessions[:len(s.sessions)-1] {
		real := s.sessions[i+1].from.Sub(s.sessions[i].to)
		out = append(out, pause{
			At: number(s.percent(s.place(s.sessions[i].to))), Width: number(s.percent(s.gap(i))),
			Label: "refit was not running for " + duration(real),
		})
	}
	return out
}

// number writes a percentage or a coordinate, short.
func number(x float64) string {
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
}

// duration writes how long something took: 850 ms, 3.2 s, 2 min 5 s, 3 h 20 min.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d > 0 && d < 950*time.Millisecond:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < time.Minute-50*time.Millisecond:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	case d < time.Hour-500*time.Millisecond:
		s := int(math.Round(d.Seconds()))
		return parts(s/60, "min", s%60, "s")
	}
	m := int(math.Round(d.Minutes()))
	if m < 48*60 {
		return parts(m/60, "h", m%60, "min")
	}
	return parts(m/(24*60), "d", m/60%24, "h")
}

func parts(a int, unitA string, b int, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unitA)
	}
	return fmt.Sprintf("%d %s %d %s", a, unitA, b, unitB)
}

// clock writes a time since the begin of the run for an axis: 0:05, 12:30, 1:02:03.
func clock(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	tenths := int(math.Round(d.Seconds() * 10))
	s := tenths / 10
	text := fmt.Sprintf("%d:%02d", s/60, s%60)
	if s >= 3600 {
		text = fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	if tenths%10 != 0 && s < 3600 {
		text += fmt.Sprintf(".%d", tenths%10)
	}
	return text
}

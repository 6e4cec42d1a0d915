// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"time"
)

const (
	// firstLimit is how many requests are under way at the beginning. A node
	// holds 110 pods by default; an API server's share for ordinary users is
	// a few dozen seats (API priority and fairness, level workload-low).
	firstLimit = 10
	// lastLimit bounds what one client asks for however patient the server is.
	lastLimit = 64
	// defaultPause is how long a server that is too busy to say is left alone.
	defaultPause = time.Second
)

// limiter says how many requests may be under way: one more for each answer at
// first, later one more for each round of answers, half as many when the server
// says that it has too much to do. It is TCP's additive increase and
// multiplicative decrease, for the same reason: many clients that behave so share
// fairly what there is, without knowing of each other.
type limiter struct {
	limit       float64
	halved      int // how often; a request carries the number it was sent under
	pausedUntil time.Time
}

func newLimiter() limiter { return limiter{limit: firstLimit} }

// room returns how many more requests may be sent while inFlight are under way.
func (l *limiter) room(inFlight int, now time.Time) int {
	if now.Before(l.pausedUntil) {
		return 0
	}
	return max(0, int(l.limit)-inFlight)
}

// answered takes note of an answer that was not about load.
func (l *limiter) answered() {
	if l.halved == 0 {
		l.limit++
	} else {
		l.limit += 1 / l.limit
	}
	l.limit = min(l.limit, lastLimit)
}

// throttled takes note of a server that has too much to do. era is the value of
// halved when the request was sent: requests of the same burst halve once.
func (l *limiter) throttled(era int, now time.Time, retryAfter time.Duration) {
	if retryAfter <= 0 {
		retryAfter = defaultPause
	}
	if until := now.Add(retryAfter); until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
	if era == l.halved {
		l.limit = max(1, l.limit/2)
		l.halved++
	}
}

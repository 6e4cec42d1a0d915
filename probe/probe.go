// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"time"

	"k8s.io/utils/clock"
)

// What Watch works with if nothing else is said. An outage is measured as exactly as
// Interval; Patience is longer than an API server takes that is merely busy.
const (
	DefaultInterval = 250 * time.Millisecond
	DefaultPatience = 2 * time.Second
)

// Outage is a time without an answer.
type Outage struct {
	// Begin is when the first request was sent that failed, End when the first one
	// after it was answered; zero as long as there was none.
	Begin, End time.Time
	// Err is what the first request met with.
	Err error
}

// Duration is how long the outage was, or has been until now.
func (o Outage) Duration(now time.Time) time.Duration {
	if o.End.IsZero() {
		return now.Sub(o.Begin)
	}
	return o.End.Sub(o.Begin)
}

// ErrNotAsked is what Ask returns if no request could be sent: that says nothing.
var ErrNotAsked = errors.New("nothing was asked")

// Tally is what came of the requests of a probe.
type Tally struct {
	// Asked is how many there were, Failed how many of them were not answered, Longest the
	// longest outage.
	Asked, Failed int
	Longest       time.Duration
}

// Probe asks something whether it answers.
type Probe struct {
	// Ask sends one request. It returns when there is an answer, or with an error;
	// its context ends after Patience.
	Ask func(ctx context.Context) error
	// Interval is the time between the beginnings of two requests, Patience how long
	// one may take; 0 stands for the defaults.
	Interval, Patience time.Duration
	Clock              clock.WithTicker
	// Count, if it is set, counts the requests.
	Count *Tally
}

// Start has Watch run beside its caller until stop is called, also when ctx has ended.
func (p Probe) Start(ctx context.Context, tell func(Outage)) (stop func()) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Watch(watching, tell)
	}()
	return func() { cancel(); <-done }
}

// Watch asks until ctx ends and returns the outages, the oldest first. The last one has
// no End if it was not over. tell, which may be nil, hears of each when it begins and
// again when it is over.
func (p Probe) Watch(ctx context.Context, tell func(Outage)) []Outage {
	interval, patience := p.Interval, p.Patience
	if interval <= 0 {
		interval = DefaultInterval
	}
	if patience <= 0 {
		patience = DefaultPatience
	}
	if tell == nil {
		tell = func(Outage) {}
	}
	ticker := p.Clock.NewTicker(interval)
	defer ticker.Stop()
	var outages []Outage
	down := false
	for {
		sent := p.Clock.Now()
		asking, cancel := context.WithTimeout(ctx, patience)
		err := p.Ask(asking)
		cancel()
		if ctx.Err() != nil { // that there was no answer says nothing
			return outages
		}
		if p.Count != nil && !errors.Is(err, ErrNotAsked) {
			p.Count.Asked++
			if err != nil {
				p.Count.Failed++
			}
		}
		switch {
		case errors.Is(err, ErrNotAsked):
		case err != nil && !down:
			down = true
			outages = append(outages, Outage{Begin: sent, Err: err})
			tell(outages[len(outages)-1])
		case err == nil && down:
			down = false
			last := &outages[len(outages)-1]
			last.End = p.Clock.Now()
			tell(*last)
		}
		if p.Count != nil && len(outages) > 0 {
			p.Count.Longest = max(p.Count.Longest, outages[len(outages)-1].Duration(p.Clock.Now()))
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return outages
		}
	}
}

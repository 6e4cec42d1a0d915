// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// A request is sent at 0, 1, 2, ... seconds; the answers are those of the list.
func TestWatch(t *testing.T) {
	refused := errors.New("connection refused")
	for name, c := range map[string]struct {
		answers []error
		want    []time.Duration // begin and end of each outage since the start; -1: not over
	}{
		"none":     {[]error{nil, nil, nil}, nil},
		"one":      {[]error{nil, refused, refused, nil}, []time.Duration{1, 3}},
		"two":      {[]error{refused, nil, refused, nil}, []time.Duration{0, 1, 2, 3}},
		"not over": {[]error{nil, refused, refused}, []time.Duration{1, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				asked, told := 0, 0
				p := Probe{Clock: clock.RealClock{}, Interval: time.Second, Ask: func(context.Context) error {
					if asked++; asked == len(c.answers) {
						defer time.AfterFunc(time.Millisecond, cancel)
					}
					return c.answers[asked-1]
				}}
				outages := p.Watch(ctx, func(Outage) { told++ })
				var got []time.Duration
				for _, o := range outages {
					end := time.Duration(-1)
					if !o.End.IsZero() {
						end = o.End.Sub(start) / time.Second
					}
					got = append(got, o.Begin.Sub(start)/time.Second, end)
					if !errors.Is(o.Err, refused) {
						t.Errorf("the outage is for %v", o.Err)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("outages %v, want %v", got, c.want)
				}
				over := slices.DeleteFunc(slices.Clone(c.want), func(d time.Duration) bool { return d < 0 })
				if told != len(over) {
					t.Errorf("told %d times, want %d", told, len(over))
				}
			})
		})
	}
}

// A request that hangs counts as failed after the patience, and from when it was sent.
func TestWatchHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		asked := 0
		p := Probe{Clock: clock.RealClock{}, Interval: time.Second, Patience: 3 * time.Second, Ask: func(ctx context.Context) error {
			if asked++; asked == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			time.AfterFunc(time.Millisecond, cancel)
			return nil
		}}
		outages := p.Watch(ctx, nil)
		if len(outages) != 1 || outages[0].Duration(time.Time{}) < 3*time.Second || outages[0].Duration(time.Time{}) > 4*time.Second {
			t.Errorf("outages %+v", outages)
		}
	})
}

// What is counted are requests that were sent.
func TestWatchCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		refused := errors.New("connection refused")
		answers := []error{nil, refused, ErrNotAsked, refused, nil, ErrNotAsked, refused, nil, nil}
		asked, count := 0, Tally{}
		p := Probe{Clock: clock.RealClock{}, Interval: time.Second, Count: &count, Ask: func(context.Context) error {
			if asked++; asked == len(answers) {
				defer time.AfterFunc(time.Millisecond, cancel)
			}
			return answers[asked-1]
		}}
		outages := p.Watch(ctx, nil)
		if want := (Tally{Asked: 7, Failed: 3, Longest: 3 * time.Second}); count != want || len(outages) != 2 {
			t.Errorf("%+v, want %+v; %d outages", count, want, len(outages))
		}
	})
}

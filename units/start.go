// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"time"

	"refit.dev/refit/host"
)

const (
	// lookEvery is how long to wait between two looks at a component that starts.
	lookEvery = 2 * time.Second
	// calm is for how long a process has to be the same and well before it counts as such:
	// many fail some seconds after they have begun to answer.
	calm = 10 * time.Second
	// stopping is how long the process of before may take to end on top of what the new one
	// may take: an API server ends the requests that it has, and systemd kills after 90 s by
	// default.
	stopping = 3 * time.Minute
)

// start restarts the service unless its process runs the file in its place, and waits until
// it is well. It returns what is not when its time is over; that it could not be looked at is
// that too, unless the machine was out of reach in the end: how it is is not known then.
func (r *Raise) start(ctx context.Context) (string, error) {
	asked := r.Clock.Now()
	begun, pid, since := asked, 0, asked
	started := false
	for {
		u, why, err := r.look(ctx)
		if err == nil && !started {
			if started = u.Fresh && u.Service.PID != 0; !started {
				r.say("restarting %s", u.Service.Name)
				if err = restart(ctx, r.Machine, u); err == nil {
					started = true
					continue
				}
			}
		}
		now := r.Clock.Now()
		if u.Service.Active == "deactivating" && now.Sub(asked) < stopping {
			begun = now
		}
		switch {
		case err != nil:
			why = err.Error()
		case why != "" || u.Service.PID != pid:
			pid, since = u.Service.PID, now
			if why == "" {
				why = "it has only just begun to be well"
			}
		case now.Sub(since) >= calm:
			return "", nil
		default:
			why = "it has only just begun to be well"
		}
		switch over := now.Sub(begun) >= r.Patience; {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case over && host.Temporary(err):
			return "", err
		case over:
			return why, nil
		}
		timer := r.Clock.NewTimer(lookEvery)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return "", context.Cause(ctx)
		}
	}
}

// look looks at the component, and says what is not well.
func (r *Raise) look(ctx context.Context) (u Unit, why string, err error) {
	u, err = r.unit(ctx)
	switch {
	case err != nil:
		return u, "", err
	case u.Service.PID == 0 || !u.Service.Runs():
		return u, fmt.Sprintf("%s is %s (%s)", u.Service.Name, u.Service.Active, u.Service.Sub), nil
	case !u.Fresh:
		return u, "its process does not run the binary that is in its place", nil
	}
	reading := &reader{m: r.Machine}
	if err := reading.config(ctx, &u); err != nil {
		return u, "", err
	}
	u.Health, err = reading.health(ctx, &u)
	if err != nil || u.Health.Problem != "" || r.Healthy == nil {
		return u, u.Health.Problem, err
	}
	why, err = r.Healthy(ctx)
	return u, why, err
}

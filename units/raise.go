// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"

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

// Raise brings one component of a host to a binary that was staged.
type Raise struct {
	Machine   host.Machine
	Clock     clock.Clock
	Component string
	Binary    Binary
	// Patience is how long the component may take to be well.
	Patience time.Duration
	// Output hears what is done; it may be nil.
	Output host.Output
}

// RolledBackError says that a component was not well in time, and that the binary of before is
// in its place again.
type RolledBackError struct {
	Component, Version string
	// Why says what was not well.
	Why string
	// Still says what is not well with the binary of before either; "" if it is well.
	Still string
}

func (e *RolledBackError) Error() string {
	text := fmt.Sprintf("%s %s was not well in time (%s), and was rolled back to the binary of before", e.Component, e.Version, e.Why)
	if e.Still != "" {
		return text + ", which is not well either: " + e.Still
	}
	return text + ", which runs and is well"
}

// Done tells whether the binary is in its place, and its process runs and is well. The error
// is of the connection.
func (r Raise) Done(ctx context.Context) (bool, error) {
	u, why, err := r.look(ctx, true)
	return err == nil && why == "" && u.SHA256 == r.Binary.SHA256, err
}

// Do puts the binary into its place, restarts the service, and waits until it is well. Each
// part that was done already is left out. The error is a *RolledBackError if it was not well
// in time; another is of the connection, and Do is to be called again.
func (r Raise) Do(ctx context.Context) error {
	u, _, err := r.look(ctx, true)
	if err != nil {
		return err
	}
	if u.SHA256 != r.Binary.SHA256 {
		r.say("putting %s %s into its place; the one of before is kept as %s", r.Component, r.Binary.Version, keptPath(u.Program, r.Binary.Version))
		if err := put(ctx, r.Machine, u, r.Binary); err != nil {
			return err
		}
	}
	why, err := r.start(ctx)
	if err != nil {
		return err
	}
	if why == "" {
		return forget(ctx, r.Machine, u, r.Binary)
	}
	r.say("%s %s is not well after %s: %s; putting the one of before back", r.Component, r.Binary.Version, r.Patience, why)
	if err := back(ctx, r.Machine, u, r.Binary); err != nil {
		return fmt.Errorf("%s %s is not well (%s): %w", r.Component, r.Binary.Version, why, err)
	}
	still, err := r.start(ctx)
	if err != nil {
		return err
	}
	return &RolledBackError{Component: r.Component, Version: r.Binary.Version, Why: why, Still: still}
}

// start restarts the service unless its process runs the file in its place, and waits until
// it is well. why says what is not when its time is over.
func (r Raise) start(ctx context.Context) (why string, err error) {
	asked := r.Clock.Now()
	begun := asked
	u, _, err := r.look(ctx, false)
	if err != nil {
		return "", err
	}
	if !u.Fresh || u.Service.PID == 0 {
		r.say("restarting %s", u.Service.Name)
		if err := restart(ctx, r.Machine, u); err != nil {
			return "", err
		}
	}
	pid, since := 0, begun
	for {
		u, why, err = r.look(ctx, false)
		now := r.Clock.Now()
		if u.Service.Active == "deactivating" && now.Sub(asked) < stopping {
			begun = now
		}
		switch {
		case err != nil && !host.Temporary(err):
			return "", err
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
		if now.Sub(begun) >= r.Patience {
			if err != nil {
				return "", err // how it is is not known
			}
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

// look looks at the component, and says what is not well; sum has the file's sum looked at.
func (r Raise) look(ctx context.Context, sum bool) (u Unit, why string, err error) {
	reading := &reader{m: r.Machine}
	u, there, err := reading.unit(ctx, r.Component, sum)
	switch {
	case err != nil:
		return u, "", err
	case !there:
		return u, "", fmt.Errorf("there is no service %s any more", u.Service.Name)
	case u.Service.PID == 0 || !u.Service.Runs():
		return u, fmt.Sprintf("%s is %s (%s)", u.Service.Name, u.Service.Active, u.Service.Sub), nil
	case !u.Fresh:
		return u, "its process does not run the binary that is in its place", nil
	}
	if err := reading.config(ctx, &u); err != nil {
		return u, "", err
	}
	u.Health, err = reading.health(ctx, &u)
	return u, u.Health.Problem, err
}

func (r Raise) say(format string, args ...any) {
	if r.Output != nil {
		r.Output(fmt.Sprintf(format, args...))
	}
}

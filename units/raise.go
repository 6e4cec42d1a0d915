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

// Raise brings one component of a host to a binary that was staged.
type Raise struct {
	Machine   host.Machine
	Clock     clock.Clock
	Component string
	Binary    Binary
	// Run names on whose behalf: a binary that was rolled back is not put into its place again
	// in the same run, whoever repeats the Raise, unless Again is said.
	Run   string
	Again bool
	// Patience is how long the component may take to be well.
	Patience time.Duration
	// Healthy is asked on top once the component says itself that it is well, and says what is
	// not; its error is that it could not be asked. nil: nobody else is asked.
	Healthy func(ctx context.Context) (why string, err error)
	// Output hears what is done; it may be nil.
	Output host.Output
}

// Done tells whether a Raise has come to its end: the binary is in its place, nothing waits
// beside it any more, and its process runs and is well. The error is of the connection.
func (r *Raise) Done(ctx context.Context) (bool, error) {
	u, why, err := r.look(ctx)
	if err != nil || why != "" {
		return false, err
	}
	p, err := r.place(ctx, u)
	return err == nil && p.sum == r.Binary.SHA256 && !p.staged, err
}

// Do puts the binary into its place, restarts the service, and waits until it is well. Each
// part that was done already is left out. The error is a *RolledBackError if it was not well
// in time, and a *NotBackError if rolling back failed then; another is of the connection, and
// Do is to be called again.
func (r *Raise) Do(ctx context.Context) error {
	u, err := r.unit(ctx)
	if err != nil {
		return err
	}
	p, err := r.place(ctx, u)
	if err != nil {
		return err
	}
	switch {
	case p.refused && !r.Again:
		return r.back(ctx, u, p.why, p.sum == r.Binary.SHA256)
	case p.refused:
		if err := forgive(ctx, r.Machine, u, r.Binary); err != nil {
			return err
		}
	}
	r.Again = false // said once, tried once
	if p.sum != r.Binary.SHA256 {
		r.say("putting %s %s into its place; the one of before is kept as %s", r.Component, r.Binary.Version, keptPath(u.Program, r.Binary.Version))
		if err := put(ctx, r.Machine, u, r.Binary); err != nil {
			return err
		}
	}
	why, err := r.start(ctx)
	switch {
	case err != nil:
		return err
	case why == "":
		return forget(ctx, r.Machine, u, r.Binary)
	}
	r.say("%s %s is not well after %s: %s; putting the one of before back", r.Component, r.Binary.Version, r.Patience, why)
	return r.back(ctx, u, why, true)
}

// back starts the binary of before, which has to be put back first if the new one is in its
// place. Its error is never nil.
func (r *Raise) back(ctx context.Context, u Unit, why string, inPlace bool) error {
	if inPlace {
		if err := back(ctx, r.Machine, u, r.Binary, r.Run, why); err != nil {
			if ctx.Err() != nil || host.Temporary(err) {
				return fmt.Errorf("%s %s is not well (%s): %w", r.Component, r.Binary.Version, why, err)
			}
			return &NotBackError{
				Component: r.Component, Version: r.Binary.Version, Why: why,
				Program: u.Program, Kept: keptPath(u.Program, r.Binary.Version), Err: err,
			}
		}
	}
	still, err := r.start(ctx)
	if err != nil {
		return fmt.Errorf("%s %s was not well in time (%s), and the binary of before is in its place again; how that one is is not known: %w", r.Component, r.Binary.Version, why, err)
	}
	return &RolledBackError{Component: r.Component, Version: r.Binary.Version, Why: why, Still: still}
}

// unit looks at the component, which has to be there.
func (r *Raise) unit(ctx context.Context) (Unit, error) {
	u, there, err := (&reader{m: r.Machine}).unit(ctx, r.Component)
	if err == nil && !there {
		err = fmt.Errorf("there is no service %s any more", u.Service.Name)
	}
	return u, err
}

func (r *Raise) say(format string, args ...any) {
	if r.Output != nil {
		r.Output(fmt.Sprintf(format, args...))
	}
}

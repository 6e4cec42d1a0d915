// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
)

// ControlPlane is one that somebody else runs, whose version can be raised.
type ControlPlane interface {
	// Raise has the version raised. It may return before that is done, and asking again for the same
	// version is asking once: nothing but what the API server says of itself is believed. A
	// *TemporaryError may be asked again in a while.
	Raise(ctx context.Context, r Raise) error
	// AwaitRaise returns when no Raise of this cluster is under way any more, not even one of a process that
	// was killed, or of another run. It calls busy once if there is one to wait for.
	AwaitRaise(ctx context.Context, busy func()) error
}

// Raise asks for another version.
type Raise struct {
	// Run is the one that asks.
	Run string `json:"run"`
	// From is what the API server says of itself, To what it is to say: v1.37.2, or v1.37 for
	// whatever patch of it there is.
	From string `json:"from"`
	To   string `json:"to"`
}

// aboutPlane is what no two commands may be about at a time.
const aboutPlane = "control plane"

// Raise runs the command upgrade.
func (x *Exec) Raise(ctx context.Context, r Raise) error {
	if x.Config.Upgrade == nil {
		return errors.New("raise the control plane: the provider has no command for it (upgrade)")
	}
	if _, err := x.ask(ctx, *x.Config.Upgrade, aboutPlane, question{Action: "upgrade", Run: r.Run, Upgrade: &r}); err != nil {
		return fmt.Errorf("raise the control plane to %s: %w", r.To, err)
	}
	return nil
}

// AwaitRaise takes the lock of an upgrade, and gives it back.
func (x *Exec) AwaitRaise(ctx context.Context, busy func()) error {
	if x.Config.Upgrade == nil {
		return nil
	}
	return x.await(ctx, aboutPlane, x.Config.Upgrade.Limit(), busy)
}

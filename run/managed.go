// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/skew"
)

// Managed says that somebody else runs the control plane. Its version is raised by the provider's
// command, and is what the API server says of itself: nothing else of it can be seen.
type Managed struct {
	// Settle is how long the API server has to say the new version, and no other, until it is believed:
	// behind one address there may be several, of which the last one is still to follow.
	Settle metav1.Duration `json:"settle"`
}

// DefaultSettle is enough for some fifteen answers, each over a connection of its own.
const DefaultSettle = 30 * time.Second

// StepRaise brings a managed control plane to the version of a stage.
const StepRaise Step = "raise-control-plane"

// managed brings the control plane to the version of a stage, and returns why the run stops here.
func (e *engine) managed(ctx context.Context, i int) string {
	stage := &e.spec.Upgrade.Stages[i]
	u, ok := e.work.(upgrading)
	if stage.Role != ManagedControlPlane || !ok || e.between(i, StepRaise) == Done {
		return ""
	}
	e.emit(event.Event{Type: event.StageStarted, Message: stage.String()})
	if why := e.stageHook(ctx, i, StepBeforeStage, e.spec.Upgrade.Hooks.BeforeStage); why != "" {
		return why
	}
	note := func(state State, reason string) bool {
		return e.record(Record{Kind: KindStage, Stage: i + 1, Step: StepRaise, State: state, Reason: reason}) == nil
	}
	if ctx.Err() != nil || !note(Intent, stage.String()) {
		return stopReason(ctx)
	}
	r := raising{engine: e, with: u, to: stage.Version}
	says, err := r.raise(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return stopReason(ctx)
	case err != nil:
		if !note(Lost, err.Error()) {
			return stopReason(ctx)
		}
		why := fmt.Sprintf("the control plane is not at %s: %v", stage.Version, err)
		if advice := hint.Of(err); advice != "" {
			why += "; " + advice
		}
		return why
	}
	if !note(Done, "the API server says "+says) {
		return stopReason(ctx)
	}
	return ""
}

// validateManaged says what is missing for a control plane that somebody else runs.
func (s *Spec) validateManaged() error {
	u := s.Upgrade
	planes := slices.ContainsFunc(u.Stages, func(stage Stage) bool { return stage.Role.ControlPlane() && stage.Role != ManagedControlPlane })
	switch {
	case u.Managed == nil:
		return nil
	case u.Replace == nil:
		return errors.New("nodes of a managed control plane give way to new ones, and nobody is named who makes them")
	case u.Replace.Provider.Upgrade == nil:
		return errors.New("the provider has no command that raises the control plane (upgrade)")
	case u.Managed.Settle.Duration <= 0:
		return errors.New("how long a version has to be said until it is believed is missing")
	case u.Backup != nil:
		return errors.New("etcd of a managed control plane cannot be saved")
	case planes, u.Units != nil:
		return errors.New("a managed control plane runs on no node")
	}
	return nil
}

// mayBeRaised is the version that a managed control plane may still get from the provider, because a run
// has asked for it and has not seen it there; "" if there is none.
func (s *Status) mayBeRaised() string {
	for i, steps := range s.Stages {
		if state := steps[StepRaise]; state == Intent || state == Lost {
			return s.Spec.Upgrade.Stages[i-1].Version
		}
	}
	return ""
}

// meets tells whether a version is the one that an upgrade wants. Only where somebody else makes nodes
// may a goal name no patch, or a provider put something behind it.
func (s *Spec) meets(want, has string) bool {
	if s.Upgrade.Managed == nil {
		return want == has
	}
	goal, err := skew.Parse(want)
	if err != nil {
		return false
	}
	v, err := skew.Parse(has)
	return err == nil && v.Minor == goal.Minor && (goal.Patch == skew.Unknown || v.Compare(goal) == 0)
}

// unprovenServer says what a managed control plane is not at the goal with.
func (e *engine) unprovenServer(ctx context.Context) []string {
	u, ok := e.work.(upgrading)
	if e.spec.Upgrade.Managed == nil || !ok {
		return nil
	}
	says := ""
	err := retry(context.WithoutCancel(ctx), e.clock, e.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		says, err = u.version(ctx)
		return err
	})
	if err != nil {
		return []string{fmt.Sprintf("the API server could not be asked for its version: %v", err)}
	}
	if there, err := reached(e.spec.Upgrade.To, says); err != nil || !there {
		return []string{"the API server is " + says}
	}
	return nil
}

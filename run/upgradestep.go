// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// settling is how long what a step has set going may take to be there.
const settling = time.Minute

// step takes a step on the machine, unless there is nothing left to do. may looks
// right before whether the machine may be touched.
func (u upgrading) step(w *worker, p Procedure, s MachineStep, may act) act {
	return func(ctx context.Context) error {
		done, err := u.done(ctx, w, s)
		if err != nil {
			return w.unreached(err)
		}
		if done {
			if w.status.Steps[s.Name] == Intent { // an earlier process was killed in the middle of it
				return w.record(Record{Kind: KindStep, Node: w.target.Name, Step: s.Name, State: Done, Reason: "found done"})
			}
			return nil
		}
		if err := may(ctx); err != nil {
			return err
		}
		return w.step(ctx, s.Name, Record{Reason: s.Text}, func() (Record, error) {
			return Record{}, u.do(ctx, w, p, s)
		})
	}
}

func (u upgrading) done(ctx context.Context, w *worker, s MachineStep) (done bool, err error) {
	err = w.persist(ctx, func() (bool, error) {
		var err error
		done, err = s.Done(ctx)
		return err == nil, err
	})
	return done, err
}

// settle gives what a step has set going a moment to be there.
func (u upgrading) settle(ctx context.Context, w *worker, s MachineStep) (done bool, err error) {
	begun := w.clock.Now()
	err = w.persist(ctx, func() (bool, error) {
		var err error
		done, err = s.Done(ctx)
		return done || err == nil && w.clock.Since(begun) >= min(settling, w.spec.Timeouts.Ready.Duration), err
	})
	return done, err
}

// do does a step and looks what came of it. What it says of itself decides nothing.
func (u upgrading) do(stoppable context.Context, w *worker, p Procedure, s MachineStep) error {
	// As with a command: a machine is not left in the middle of something.
	ctx := context.WithoutCancel(stoppable)
	var begun time.Time // since when the step finds no API server; zero: it does
	for {
		err := s.Do(ctx, func(line string) {
			w.emit(event.Event{Type: event.CommandOutput, Node: w.target.Name, Message: line})
		})
		done, lookErr := u.done(ctx, w, s)
		if err == nil && lookErr == nil && !done { // a container may be about to start
			done, lookErr = u.settle(ctx, w, s)
		}
		unknown, lost := errors.AsType[*OutcomeUnknownError](err)
		switch {
		case lookErr != nil:
			return &failure{
				reason: fmt.Sprintf("%s: how far it got is not known: %v", s.Text, errors.Join(err, lookErr)),
				hint: "see to it that the machine can be reached; refit runs resume " + w.spec.Run +
					" looks at it, and waits for what still runs there",
				timeout: errors.Is(lookErr, errTimeout),
			}
		case done && err != nil && !lost:
			w.emit(event.Event{
				Type: event.Warning, Node: w.target.Name,
				Message: fmt.Sprintf("%s ended with an error, and yet the machine is as it is to be: %v", s.Text, err),
			})
			return nil
		case done:
			return nil
		case lost:
			w.emit(event.Event{
				Type: event.Warning, Node: w.target.Name,
				Message: fmt.Sprintf("the connection was lost during %s (%v); it goes on, and is looked at again", s.Text, unknown.Err),
			})
			w.wait(ctx, lookAgain)
			continue
		case err == nil:
			err = errors.New("it ended without an error, and yet the machine is not as it is to be")
		}
		if _, away := errors.AsType[*ServerAwayError](err); away {
			if begun.IsZero() {
				begun = w.clock.Now()
				w.emit(event.Event{
					Type: event.Warning, Node: w.target.Name,
					Message: fmt.Sprintf("%s got nowhere without an API server (%v); it is tried again when that answers", s.Text, err),
				})
			}
			if w.clock.Since(begun) < w.spec.Timeouts.Stall.Duration {
				if err := w.awaitServer(stoppable); err != nil {
					return err
				}
				continue
			}
		}
		return u.failed(ctx, w, p, s, err)
	}
}

// failed says in which state a step that failed leaves the node, and what to do.
func (u upgrading) failed(ctx context.Context, w *worker, p Procedure, s MachineStep, err error) error {
	state, advice := Lost, hint.Of(err)
	if advice == "" {
		advice = "see its output and the machine; once the cause is mended, resume"
	}
	if _, final := errors.AsType[*FinalError](err); final {
		state = Stuck
		advice += "; only when that is mended: refit runs resume " + w.spec.Run + " --on-unknown-command=rerun"
	} else {
		advice += ": refit runs resume " + w.spec.Run + " carries on where the machine is"
	}
	if err := w.record(Record{Kind: KindStep, Node: w.target.Name, Step: s.Name, State: state, Reason: err.Error()}); err != nil {
		return err
	}
	return &failure{reason: fmt.Sprintf("%s: %v; %s", s.Text, err, u.state(ctx, w, p)), hint: advice}
}

// state says where the node and its machine are now.
func (u upgrading) state(ctx context.Context, w *worker, p Procedure) string {
	node := "the node was not cordoned and still serves"
	switch {
	case w.spec.Upgrade.AllAtOnce:
		node = "the node was neither cordoned nor drained"
	case w.status.Steps[StepDrain] == Done:
		node = "the node is cordoned and drained"
	case w.status.Steps[StepCordon] != "":
		node = "the node is cordoned"
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	machine, err := p.State(limited)
	if err != nil || machine == "" {
		return node
	}
	return node + ", its machine: " + machine
}

// verify looks at what the machine really runs. If it is not what it is to be, the
// work on it counts as not done, and is gone through again by who resumes.
func (u upgrading) verify(w *worker, p Procedure) act {
	return func(ctx context.Context) error {
		return w.step(ctx, StepVerify, Record{Reason: "what the machine runs"}, func() (Record, error) {
			err := w.persist(ctx, func() (bool, error) {
				problems, err := p.Verify(ctx, w.mirrored)
				if err == nil && len(problems) > 0 {
					err = problemsError(problems)
				}
				return err == nil, err
			})
			if err == nil || !errors.Is(err, errTimeout) {
				return Record{}, err
			}
			if err := w.record(Record{Kind: KindStep, Node: w.target.Name, Step: StepMachine, State: Lost, Reason: err.Error()}); err != nil {
				return Record{}, err
			}
			return Record{}, &failure{
				reason: fmt.Sprintf("the machine is not at %s after %s: %v; %s", w.stage.Version, w.spec.Timeouts.Ready.Duration, err, u.state(ctx, w, p)),
				hint:   "look at the machine; refit runs resume " + w.spec.Run + " goes through its steps again and does what is missing",
			}
		})
	}
}

// mirrored returns the hash of the manifest from which a static pod of the node was made, as
// its mirror pod has it; "" if there is none, or if it is not known.
func (w *worker) mirrored(component string) string {
	node := w.cluster.Around(w.target.Name)
	if node == nil {
		return ""
	}
	for _, pod := range node.Pods {
		if pod.Mirror() && pod.Labels["component"] == component {
			return pod.Annotations[configHash]
		}
	}
	return ""
}

// configHash is where kubelets put it (k8s.io/kubernetes/pkg/kubelet/types.ConfigHashAnnotationKey).
const configHash = "kubernetes.io/config.hash"

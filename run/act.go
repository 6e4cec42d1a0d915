// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// settleUnknown deals with commands that a killed process had started. Whether
// they may be run twice is not for refit to guess.
func (w *worker) settleUnknown() error {
	for _, step := range []Step{StepCommand, StepBeforeNode, StepAfterNode} {
		if w.status.Steps[step] != Intent || w.unknown == UnknownRerun {
			continue
		}
		if w.unknown != UnknownDone {
			return &failure{
				reason: "the " + commandName(step) + " was started by a process that was killed; whether it ran to its end is not known",
				hint: fmt.Sprintf("look at the node, and whether the command still runs; then refit runs resume %s --on-unknown-command=rerun "+
					"(run it again) or =done (it has done its work)", w.spec.Run),
			}
		}
		if err := w.record(Record{Kind: KindStep, Node: w.target.Name, Step: step, State: Done, Reason: "taken for done by the operator"}); err != nil {
			return err
		}
	}
	return nil
}

// settleStuck keeps steps from being taken again of which that would make things worse.
func (w *worker) settleStuck() error {
	for _, step := range slices.Sorted(maps.Keys(w.status.Steps)) {
		if w.status.Steps[step] != Stuck || w.unknown != UnknownStop {
			continue
		}
		return &failure{
			reason: fmt.Sprintf("the step %s failed in a way that another try may make worse", step),
			hint:   "see what it said (refit runs show " + w.spec.Run + "), and mend that first; then refit runs resume " + w.spec.Run + " --on-unknown-command=rerun takes it again",
		}
	}
	return nil
}

// commandName is what a command of the operator's is called.
func commandName(step Step) string {
	if step == StepCommand {
		return "command"
	}
	return "hook --" + string(step)
}

// command runs the command for the node.
func (m maintenance) command(ctx context.Context, w *worker) error {
	node, err := w.ownCordon(ctx)
	if err != nil {
		return err
	}
	return w.shell(ctx, StepCommand, m.hosts(node), w.spec.Command)
}

// shell runs a command of the operator's for the node. It is not ended by the end
// of ctx: a machine is not left in the middle of something because a person pressed
// Ctrl-C once.
func (w *worker) shell(ctx context.Context, step Step, h host.Host, command string) error {
	return w.step(ctx, step, Record{}, func() (Record, error) {
		ctx := context.WithoutCancel(ctx)
		if limit := w.spec.Timeouts.Command.Duration; limit > 0 {
			limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %s", errTimeout, limit))
			defer cancel()
			ctx = limited
		}
		err := h.Run(ctx, command, func(line string) {
			w.emit(event.Event{Type: event.CommandOutput, Node: w.target.Name, Message: line})
		})
		reason := ""
		if err != nil {
			if reason = err.Error(); step != StepCommand {
				reason = commandName(step) + ": " + reason
			}
		}
		var exit *host.ExitError
		switch {
		case err == nil:
			return Record{}, nil
		case errors.As(err, &exit), errors.Is(err, host.ErrNotStarted):
			// That it failed is known, so that it may be tried again.
			if err := w.record(Record{Kind: KindStep, Node: w.target.Name, Step: step, State: Lost, Reason: err.Error()}); err != nil {
				return Record{}, err
			}
			see := "see its output"
			if h := hint.Of(err); h != "" {
				see = h
			}
			return Record{}, &failure{
				reason: reason,
				hint:   see + "; once the cause is mended, refit runs resume " + w.spec.Run + " runs it again",
			}
		}
		return Record{}, &failure{
			reason:  reason + "; how far it got is not known",
			hint:    "look at the node; then refit runs resume " + w.spec.Run + " --on-unknown-command=rerun or =done",
			timeout: errors.Is(err, errTimeout),
		}
	})
}

// reboot asks for the reboot of the node. The request is the same whenever it is
// made, and a boot ID other than the one that was recorded before it shows that
// it was obeyed.
func (m maintenance) reboot(ctx context.Context, w *worker) error {
	node, err := w.ownCordon(ctx)
	if err != nil {
		return err
	}
	return w.step(ctx, StepReboot, Record{BootID: node.Status.NodeInfo.BootID}, func() (Record, error) {
		if node.Status.NodeInfo.BootID != w.status.BootID {
			return Record{}, nil
		}
		err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) error {
			return m.hosts(node).Reboot(ctx, bootRequest(w.spec.Run, w.target.UID))
		})
		if apierrors.IsConflict(err) {
			return Record{}, &gone{reasonReplaced}
		}
		return Record{}, w.about(err)
	})
}

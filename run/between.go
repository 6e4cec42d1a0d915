// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
)

// fetchers is how many machines fetch at the same time.
const fetchers = 16

// advance does what stands between the stages, when no node is at work: what ends
// the stages that are finished, and what the current one begins with. It returns why
// the run stops here; "" if it goes on.
func (e *engine) advance(ctx context.Context) string {
	if e.spec.Upgrade == nil {
		return ""
	}
	e.mu.Lock()
	current := e.spec.current(e.status.Nodes)
	e.mu.Unlock()
	for i := range current {
		if why := e.leave(ctx, i, current); why != "" {
			return why
		}
	}
	if current == len(e.spec.Upgrade.Stages) {
		return ""
	}
	return e.enter(ctx, current)
}

// leave ends a stage.
func (e *engine) leave(ctx context.Context, i, current int) string {
	stage := e.spec.Upgrade.Stages[i]
	if why := e.managed(ctx, i); why != "" {
		return why
	}
	if why := e.stageHook(ctx, i, StepAfterStage, e.spec.Upgrade.Hooks.AfterStage); why != "" {
		return why
	}
	if e.between(i, StepPause) == Done {
		return ""
	}
	if e.record(Record{Kind: KindStage, Stage: i + 1, Step: StepPause, State: Done, Reason: stage.Pause}) != nil {
		return stopReason(ctx)
	}
	e.emit(event.Event{Type: event.StageDone, Nodes: stage.Nodes, Message: stage.String()})
	if stage.Pause != "" && current < len(e.spec.Upgrade.Stages) {
		return "paused " + stage.Pause + ", as was asked for"
	}
	return ""
}

// enter begins a stage.
func (e *engine) enter(ctx context.Context, i int) string {
	stage := e.spec.Upgrade.Stages[i]
	if i == 0 {
		if why := e.backup(ctx); why != "" {
			return why
		}
	}
	if e.between(i, StepFetch) != Done {
		if why := e.fetch(ctx, i); why != "" {
			return why
		}
	}
	if e.entered != i+1 {
		e.entered = i + 1
		e.emit(event.Event{Type: event.StageStarted, Nodes: stage.Nodes, Message: stage.String()})
	}
	return e.stageHook(ctx, i, StepBeforeStage, e.spec.Upgrade.Hooks.BeforeStage)
}

// between is where a step between stages stands.
func (e *engine) between(i int, step Step) State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Stages[i+1][step]
}

// fetch lets the machines of a hop load what they need, all at the same time, before
// the first of them is touched. A hop is the stages that follow each other with the
// same version.
func (e *engine) fetch(ctx context.Context, first int) string {
	stages, begun := e.spec.Upgrade.Stages, e.clock.Now()
	var names []string
	work, both := errgroup.WithContext(ctx)
	work.SetLimit(fetchers)
	last := first
	for ; last < len(stages) && stages[last].Version == stages[first].Version; last++ {
		for _, name := range stages[last].Nodes {
			node := e.cluster.Seen(name)
			if e.between(last, StepFetch) == Done || e.spec.replaces(&stages[last]) || node == nil || slices.Contains(names, name) {
				continue
			}
			names = append(names, name)
			stage := stages[last]
			work.Go(func() error { return e.fetchFor(both, node, stage) })
		}
	}
	if len(names) > 0 {
		e.emit(event.Event{Type: event.Fetching, Nodes: names, Message: "what " + stages[first].Version + " needs"})
	}
	if err := work.Wait(); err != nil {
		if ctx.Err() != nil {
			return stopReason(ctx)
		}
		left := "the repository of that version and its kubeadm already"
		if e.spec.Upgrade.Units != nil {
			left = "binaries of it beside the ones in use"
		}
		return fmt.Sprintf("what %s needs cannot be fetched ahead: %v; no node of it was cordoned or upgraded, but some may have %s", stages[first], err, left)
	}
	if len(names) > 0 {
		e.emit(event.Event{Type: event.Fetched, Nodes: names, Message: "what " + stages[first].Version + " needs", Seconds: e.clock.Since(begun).Seconds()})
	}
	for i := first; i < last; i++ {
		if e.between(i, StepFetch) == Done {
			continue
		}
		if e.record(Record{Kind: KindStage, Stage: i + 1, Step: StepFetch, State: Done}) != nil {
			return stopReason(ctx)
		}
	}
	return ""
}

func (e *engine) fetchFor(ctx context.Context, node *corev1.Node, stage Stage) error {
	u, ok := e.work.(upgrading)
	if !ok {
		return nil
	}
	begun := e.clock.Now()
	for {
		err := u.machines.Fetch(ctx, Visit{
			Run: e.spec.Run, Node: node, Stage: stage, Upgrade: e.spec.Upgrade, Done: func(Step) bool { return false },
		}, func(line string) {
			e.emit(event.Event{Type: event.CommandOutput, Node: node.Name, Message: line})
		})
		_, lost := errors.AsType[*OutcomeUnknownError](err)
		switch {
		case err == nil:
			return nil
		case !lost && !host.Temporary(err), ctx.Err() != nil, e.clock.Since(begun) >= e.spec.Timeouts.Ready.Duration:
			return fmt.Errorf("node %s: %w", node.Name, err)
		}
		e.emit(event.Event{
			Type: event.Warning, Node: node.Name,
			Message: fmt.Sprintf("the connection was lost while things were fetched (%v); it is tried again", err),
		})
		again := e.clock.NewTimer(lookAgain)
		select {
		case <-again.C():
		case <-ctx.Done():
			again.Stop()
		}
	}
}

// stageHook runs a command of the operator's about a stage.
func (e *engine) stageHook(ctx context.Context, i int, step Step, command string) string {
	state := e.between(i, step)
	if command == "" || state == Done {
		return ""
	}
	stage := e.spec.Upgrade.Stages[i]
	name := fmt.Sprintf("%s (%s)", commandName(step), stage)
	note := func(state State, reason string) bool {
		return e.record(Record{Kind: KindStage, Stage: i + 1, Step: step, State: state, Reason: reason}) == nil
	}
	if state == Intent && e.unknown == UnknownDone {
		if !note(Done, "taken for done by the operator") {
			return stopReason(ctx)
		}
		return ""
	}
	if state == Intent && e.unknown != UnknownRerun {
		return "the " + name + " was started by a process that was killed; whether it ran to its end is not known: " +
			"look, and resume with --on-unknown-command=rerun or =done"
	}
	if ctx.Err() != nil || !note(Intent, "") {
		return stopReason(ctx)
	}
	u, ok := e.work.(upgrading)
	if !ok {
		return ""
	}
	where := &corev1.Node{} // of none
	err := u.local(where).Run(context.WithoutCancel(ctx), withVersion(command, stage.Version), func(line string) {
		e.emit(event.Event{Type: event.CommandOutput, Node: strings.Join(stage.Nodes, ","), Message: line})
	})
	if exit, ran := errors.AsType[*host.ExitError](err); ran {
		note(Lost, exit.Error())
	}
	if err != nil {
		return fmt.Sprintf("the %s: %v", name, err)
	}
	if !note(Done, "") {
		return stopReason(ctx)
	}
	return ""
}

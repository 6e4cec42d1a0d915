// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
)

// failure is the end of a node that could not be finished.
type failure struct {
	reason, hint string
	timeout      bool
}

func (f *failure) Error() string { return f.reason }

// gone is the end of a node that does not exist any more.
type gone struct{ reason string }

func (g *gone) Error() string { return g.reason }

const (
	reasonDeleted  = "the node was deleted"
	reasonReplaced = "the node was replaced by another one of the same name, which is not touched"
)

// errPutAside says that a node that was not begun has just become one that may not be.
var errPutAside = errors.New("the node may not be begun with")

// worker takes one node through its steps.
type worker struct {
	*engine
	target Target
	status *NodeStatus // written by record only, for this goroutine
	stage  *Stage      // of an upgrade: the one that the node is in
	// evicted is the tally at the end of this node's drain.
	evicted map[types.UID]int32
	// left is how many pods have left the node in this process, in all of its drains.
	left int
	// looked are the pods that were on the node when pods to surge were last looked for.
	looked map[types.UID]bool
}

// node does what is left to be done for a node, and records how it ended.
func (e *engine) node(ctx context.Context, name string) {
	e.mu.Lock()
	w := &worker{engine: e, target: *e.spec.target(name), status: e.status.Nodes[name]}
	w.stage = e.spec.stageOf(name, w.status)
	e.mu.Unlock()
	w.tally.begin(slices.Clone(w.status.Workloads)) // of an earlier process; a drain that begins adds its own
	err := w.steps(ctx)
	w.tally.end(w.status.Workloads)
	var (
		failed      *failure
		missing     *gone
		unreachable *unreachableError
		denied      *deniedError
	)
	switch {
	case err == nil:
		w.finish(ctx)
	case ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())), errors.Is(err, errPutAside):
		// It stays as it is, and is carried on or looked at again.
	case errors.As(err, &failed):
		w.fail(ctx, failed)
	case errors.As(err, &missing):
		e.skip(NodeReason{name, missing.reason})
	case errors.As(err, &unreachable), errors.As(err, &denied), errors.Is(err, errLockLost):
		e.stop(err) // about the run, not about the node
	default:
		if _, journal := errors.AsType[*JournalError](err); !journal { // that stopped the run already
			w.fail(ctx, &failure{reason: err.Error(), hint: hint.Of(err)})
		}
	}
}

// steps are one visit to a node. What the journal says is done, and cannot have been
// undone since, is not done again.
func (w *worker) steps(ctx context.Context) error {
	if err := w.settleUnknown(); err != nil {
		return err
	}
	todo, err := w.work.todo(ctx, w)
	if err != nil {
		return err
	}
	defer todo.close()
	if !w.spec.worked(w.status) {
		leave := []act{w.cordon, w.vacate}
		if todo.inPlace {
			leave = nil
		}
		acts := slices.Concat(todo.serving, leave, todo.empty)
		if err := inOrder(ctx, acts); err != nil {
			return err
		}
	}
	if w.status.Steps[StepUncordon] != Done {
		back := slices.Concat([]act{func(ctx context.Context) error { return w.awaitReady(ctx, todo.ready) }}, todo.proof)
		if !todo.inPlace {
			back = append(back, w.uncordon)
		}
		if err := inOrder(ctx, back); err != nil {
			return err
		}
	}
	return inOrder(ctx, slices.Concat([]act{w.awaitRecovery}, todo.after, []act{w.soak}))
}

func inOrder(ctx context.Context, acts []act) error {
	for _, do := range acts {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step records that a step begins, does it, and records that it is done. act
// returns what the second record has to remember.
func (w *worker) step(ctx context.Context, step Step, intent Record, act func() (Record, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	intent.Kind, intent.Node, intent.Step, intent.State = KindStep, w.target.Name, step, Intent
	if err := w.record(intent); err != nil {
		return err
	}
	if p := phaseOf(step); p != "" {
		if p == event.PhaseWorking && w.spec.Upgrade != nil && w.status.Steps[StepCordon] == "" {
			p = event.PhasePreparing
		}
		w.phase(p, intent.Reason)
	}
	done, err := act()
	if err != nil {
		return err
	}
	done.Kind, done.Node, done.Step, done.State = KindStep, w.target.Name, step, Done
	return w.record(done)
}

// phaseOf is what is told of a step; "" for the drain, which tells itself.
func phaseOf(step Step) event.Phase {
	switch step {
	case StepCordon:
		return event.PhaseCordoning
	case StepSurge:
		return event.PhaseSurging
	case StepCommand, StepReboot:
		return event.PhaseWorking
	case StepReady:
		return event.PhaseReadying
	case StepUncordon:
		return event.PhaseUncordon
	case StepRecover:
		return event.PhaseRecovering
	case StepSoak:
		return event.PhaseSoaking
	case StepVerify:
		return event.PhaseVerifying
	case StepBeforeNode:
		return event.PhasePreparing
	case StepAfterNode:
		return event.PhaseWorking
	case StepDrain, StepMachine, StepFetch, StepBeforeStage, StepAfterStage, StepPause:
		return ""
	}
	return event.PhaseWorking // on the machine, in an upgrade
}

// recheck looks at the node right before something is done to it: at the API
// server, not at the caches, and with the lock held.
func (w *worker) recheck(ctx context.Context) (*corev1.Node, error) {
	var node *corev1.Node
	err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		if err := w.lock.check(ctx); err != nil {
			return err
		}
		node, err = w.cluster.Node(ctx, w.target.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return node, w.recognise(node)
}

// whyNot says why the node may not be cordoned now, or "". One that was begun is
// carried on with even if it is lost: its drain has a time limit.
func (w *worker) whyNot(node *corev1.Node) string {
	if held := whyHeld(node, w.target, w.spec.Run); held != "" || w.status.Standing != Waiting {
		return held
	}
	leave := 0
	if around := w.cluster.Around(w.target.Name); around != nil {
		rules := w.spec.drainRules(w.clock.Now)
		for _, p := range around.Pods {
			if rules.Leaves(p) {
				leave++
			}
		}
	}
	return w.spec.whyLost(node, leave)
}

// admit looks whether the node may be taken up, or is still to be worked on.
func (w *worker) admit(ctx context.Context) (*corev1.Node, error) {
	node, err := w.recheck(ctx)
	if err != nil {
		return nil, err
	}
	held := w.whyNot(node)
	if held == "" {
		return node, nil
	}
	if w.status.Standing != Waiting {
		return nil, &failure{reason: held, hint: "find out who did, and resume the run when the node is free"}
	}
	// Let the caches see it too, so that the node is not started again.
	_ = w.lookout.await(ctx, callLimit, []topic{nodeTopic(w.target.Name)}, func() (bool, error) {
		seen, err := w.seen()
		return err == nil && w.whyNot(seen) != "", err
	})
	w.picture.note(cluster.Change{Kind: cluster.KindNode, Name: w.target.Name})
	return nil, errPutAside
}

func (w *worker) cordon(ctx context.Context) error {
	node, err := w.admit(ctx)
	if err != nil {
		return err
	}
	return w.step(ctx, StepCordon, Record{}, func() (Record, error) {
		changed := false
		err := retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
			changed, err = w.cluster.Cordon(ctx, node, w.spec.Run)
			return err
		})
		if changed {
			w.emit(event.Event{Type: event.NodeCordoned, Node: w.target.Name})
			w.note(ctx, reasonCordoned, fmt.Sprintf("refit run %s cordoned the node", w.spec.Run))
		}
		return Record{}, w.about(err)
	})
}

// vacate empties the node: first of the pods that the drain must not ask for.
func (w *worker) vacate(ctx context.Context) error {
	for {
		if err := w.surge(ctx); err != nil {
			return err
		}
		if err := w.drain(ctx); !errors.Is(err, errLateSingleton) {
			return err
		}
	}
}

func (w *worker) drain(ctx context.Context) error {
	node, err := w.around()
	if err != nil {
		return err
	}
	w.tally.know(node)
	workloads := workloadsOn(node)
	if w.status.Workloads == nil { // otherwise those of the first attempt count
		w.tally.begin(workloads)
	}
	return w.step(ctx, StepDrain, Record{Workloads: workloads}, func() (Record, error) {
		limited, cancel := context.WithTimeoutCause(ctx, w.spec.Timeouts.Drain.Duration, errTimeout)
		defer cancel()
		limited, unwatch := w.watchForSingletons(limited)
		defer unwatch()
		evicted, remaining, err := w.empty(limited)
		w.left += evicted
		w.evicted = w.tally.mark(w.status.Workloads)
		switch {
		case err == nil:
			w.note(ctx, reasonDrained, fmt.Sprintf("refit run %s drained the node", w.spec.Run))
		case errors.Is(context.Cause(limited), errTimeout):
			err = w.timeout("pods are still there", describe(remaining), w.spec.Timeouts.Drain.Duration,
				"see what they wait for, or give them longer with --drain-timeout")
		}
		return Record{Evicted: w.left}, w.about(err)
	})
}

// empty drains the node until the API server, too, knows of no pod that has to leave.
func (w *worker) empty(ctx context.Context) (evicted int, remaining []event.Remaining, err error) {
	for {
		drained, err := w.cluster.Drain(ctx, w.target.Name)
		if errors.Is(err, errLateSingleton) {
			w.count(drained, nil) // the pods that remain are drained in a moment
		} else {
			w.count(drained, err)
		}
		evicted += drained.Evicted
		if err != nil {
			return evicted, drained.Remaining, err
		}
		left := 0
		err = retry(ctx, w.clock, w.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
			selection, err := w.cluster.Leaving(ctx, w.target.Name)
			left = len(selection.Leave) + len(selection.Refused)
			return err
		})
		if err != nil || left == 0 {
			return evicted, nil, err
		}
	}
}

// ownCordon looks at the node once more before the machine itself is touched:
// with pods that came back to it, that would be an outage.
func (w *worker) ownCordon(ctx context.Context) (*corev1.Node, error) {
	node, err := w.recheck(ctx)
	if err != nil {
		return nil, err
	}
	mark, marked := cluster.MarkOf(node)
	if !node.Spec.Unschedulable || !w.target.Unschedulable && (!marked || mark.Run != w.spec.Run) {
		return nil, &failure{
			reason: "somebody uncordoned the node while it was being maintained",
			hint:   "find out who did; refit runs resume " + w.spec.Run + " cordons and drains it again",
		}
	}
	return node, nil
}

func (w *worker) finish(ctx context.Context) {
	if w.record(Record{Kind: KindNodeDone, Node: w.target.Name}) != nil {
		return
	}
	if w.spec.Upgrade != nil {
		w.note(ctx, reasonMaintained, fmt.Sprintf("refit run %s brought the node to %s", w.spec.Run, w.stage.Version))
		w.phase(event.PhaseDone, w.stage.Version)
		return
	}
	w.note(ctx, reasonMaintained, fmt.Sprintf("refit run %s maintained the node", w.spec.Run))
	w.phase(event.PhaseDone, "")
}

func (w *worker) fail(ctx context.Context, f *failure) {
	r := Record{Kind: KindNodeFailed, Node: w.target.Name, Step: w.status.Step, Reason: f.reason, Hint: f.hint, Timeout: f.timeout}
	if w.record(r) != nil {
		return
	}
	w.note(ctx, reasonBlocked, fmt.Sprintf("refit run %s could not finish the node: %s", w.spec.Run, f.reason))
	w.emit(event.Event{Type: event.NodeFailed, Node: w.target.Name, Message: f.reason, Hint: f.hint})
}

// about sorts an error out: a node that is gone has not failed.
func (w *worker) about(err error) error {
	switch {
	case errors.Is(err, drain.ErrNodeDeleted), apierrors.IsNotFound(err):
		return &gone{reasonDeleted}
	case errors.Is(err, drain.ErrNodeReplaced):
		return &gone{reasonReplaced}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &deniedError{err}
	}
	return err
}

func (w *worker) timeout(what, detail string, limit time.Duration, advice string) error {
	text := fmt.Sprintf("%s after %s", what, limit)
	if detail != "" {
		text += ": " + detail
	}
	return &failure{reason: text, hint: advice, timeout: true}
}

func (w *worker) phase(p event.Phase, message string) {
	w.emit(event.Event{Type: event.NodePhase, Node: w.target.Name, Phase: p, Message: message})
}

// note leaves an Event on the node.
func (w *worker) note(ctx context.Context, reason, message string) {
	if node, err := w.seen(); err == nil {
		w.cluster.Note(context.WithoutCancel(ctx), node, reason, message)
	}
}

// count adds a drain to the run's totals.
func (w *worker) count(d Drained, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Evicted += d.Evicted
	w.counts.Gone += d.Gone
	w.counts.Skipped += d.Skipped
	if err != nil {
		w.counts.Blocked += len(d.Remaining)
		w.remaining = append(w.remaining, d.Remaining...)
	}
}

func describe(remaining []event.Remaining) string {
	texts := make([]string, len(remaining))
	for i, r := range remaining {
		texts[i] = r.Pod.String() + ": " + r.Blocker.Message
	}
	return few(texts)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

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

// errPutAside says that a node waits, as if it had not been begun with: it may not be, or
// it has given its turn back.
var errPutAside = errors.New("the node waits for its turn")

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
		e.skip(ctx, NodeReason{name, missing.reason})
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
	if err := cmp.Or(w.settleUnknown(), w.settleStuck()); err != nil {
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
	if w.status.Steps[StepUncordon] != Done && !todo.departs {
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
	case StepRetreat:
		return event.PhaseRetreating
	case StepCreate, StepJoin:
		return event.PhasePreparing
	case StepVerify:
		return event.PhaseVerifying
	case StepBeforeNode:
		return event.PhasePreparing
	case StepAfterNode:
		return event.PhaseWorking
	case StepDrain, StepMachine, StepBackup, StepFetch, StepBeforeStage, StepAfterStage, StepPause:
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

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

const (
	// outageExpected is how long the API server may be away while its machine is
	// worked on: kubeadm waits five minutes for each static pod.
	outageExpected = 10 * time.Minute
	// lookAgain is how long a machine has to become what is asked of it, or to be
	// reachable, before it is looked at again.
	lookAgain = 2 * time.Second
	// settling is how long what a step has set going may take to be there.
	settling = time.Minute
	// firmPatience is how long an error may last that is not about the connection.
	firmPatience = time.Minute
)

// upgrading is the work of refit upgrade apply.
type upgrading struct {
	machines Machines
	// local is where hooks run.
	local Hosts
	// ask asks the API server for something, for the probe; nil: its outages are not measured.
	ask func(ctx context.Context) error
	// dial connects from the machine of a node, for the probes of Services; nil: they are
	// not asked.
	dial func(ctx context.Context, node *corev1.Node, address string) (net.Conn, error)
}

func (u upgrading) todo(ctx context.Context, w *worker) (todo, error) {
	if w.stage == nil {
		return todo{}, fmt.Errorf("node %s is in no stage of the upgrade", w.target.Name)
	}
	hooks := w.spec.Upgrade.Hooks
	var after []act
	if hooks.AfterNode != "" {
		after = append(after, u.hook(w, StepAfterNode, hooks.AfterNode))
	}
	if w.status.Steps[StepUncordon] == Done { // the machine has nothing to do with what is left
		return todo{after: after, close: func() {}}, nil
	}
	enter := w.admit
	if w.spec.worked(w.status) {
		enter = w.recheck
	}
	node, err := enter(ctx)
	if err != nil {
		return todo{}, err
	}
	p, err := u.open(ctx, w, node)
	if err != nil {
		return todo{}, err
	}
	t := todo{
		after:   after,
		inPlace: w.spec.Upgrade.AllAtOnce || w.stage.KubeletLater,
		ready: func(node *corev1.Node) string {
			if has := node.Status.NodeInfo.KubeletVersion; has != w.stage.Version && !w.stage.KubeletLater {
				return fmt.Sprintf("its kubelet is %s and not yet %s", has, w.stage.Version)
			}
			return ""
		},
	}
	may := func(ctx context.Context) error { _, err := w.ownCordon(ctx); return err }
	look := func(ctx context.Context) error { _, err := w.recheck(ctx); return err }
	if t.inPlace {
		may = look
	}
	end, quiet := func(context.Context) error { return nil }, func() {}
	if w.stage.Role.ControlPlane() {
		var begin act
		begin, end, quiet = u.turn(w)
		t.serving = append(t.serving, u.awaitEtcd(w), begin)
	}
	t.close = func() { quiet(); _ = p.Close() }
	if hooks.BeforeNode != "" {
		t.serving = append(t.serving, u.hook(w, StepBeforeNode, hooks.BeforeNode))
	}
	for _, s := range p.Serving() {
		t.serving = append(t.serving, u.step(w, p, s, look))
	}
	for _, s := range p.Empty() {
		t.empty = append(t.empty, u.step(w, p, s, may))
	}
	t.empty = append(t.empty, func(ctx context.Context) error {
		return w.step(ctx, StepMachine, Record{}, func() (Record, error) { return Record{}, nil })
	})
	for _, s := range p.After() {
		t.proof = append(t.proof, u.step(w, p, s, look))
	}
	t.proof = append(t.proof, u.verify(w, p), end)
	if w.stage.Role.ControlPlane() {
		t.proof = append(t.proof, u.awaitEtcd(w))
	}
	return t, nil
}

// open reaches the machine of a node.
func (u upgrading) open(ctx context.Context, w *worker, node *corev1.Node) (Procedure, error) {
	var p Procedure
	err := w.persist(ctx, func() (bool, error) {
		var err error
		p, err = u.machines.Open(ctx, Visit{
			Run: w.spec.Run, Node: node, Stage: *w.stage, Upgrade: w.spec.Upgrade,
			Done: func(s Step) bool { return w.status.Steps[s] == Done },
		})
		return err == nil, err
	})
	if err != nil {
		return nil, w.unreached(err)
	}
	return p, nil
}

func (w *worker) unreached(err error) error {
	if !errors.Is(err, errTimeout) {
		return err // the run is to stop
	}
	return &failure{
		reason: fmt.Sprintf("its machine could not be looked at: %v", err),
		hint:   "see to it that the machine can be reached, then refit runs resume " + w.spec.Run,
	}
}

// problemsError is what a machine lacks that it may have in a moment.
type problemsError []string

func (e problemsError) Error() string { return strings.Join(e, "; ") }

// persist asks f until it says that it is so. What may pass - a connection was lost, a
// machine boots, a pod starts - has as long as a node has to be Ready, every other error
// a minute. It returns an errTimeout with the last one, or the cause of ctx's end.
func (w *worker) persist(ctx context.Context, f func() (bool, error)) error {
	limit := w.clock.NewTimer(w.spec.Timeouts.Ready.Duration)
	defer limit.Stop()
	var firm time.Time // since when the error is one that does not pass; zero: it is not
	for {
		done, err := f()
		if done {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, problems := errors.AsType[problemsError](err)
		switch {
		case problems || host.Temporary(err):
			firm = time.Time{}
		case firm.IsZero():
			firm = w.clock.Now()
		case w.clock.Since(firm) >= firmPatience:
			return &overdueError{err}
		}
		again := w.clock.NewTimer(lookAgain)
		select {
		case <-again.C():
		case <-limit.C():
			again.Stop()
			return &overdueError{err}
		case <-ctx.Done():
			again.Stop()
			return context.Cause(ctx)
		}
	}
}

// overdueError is an errTimeout with what was in the way last.
type overdueError struct{ last error }

func (e *overdueError) Error() string {
	if e.last == nil {
		return errTimeout.Error()
	}
	return e.last.Error()
}
func (e *overdueError) Is(target error) bool { return target == errTimeout }

// hook runs a command of the operator's about a node.
func (u upgrading) hook(w *worker, step Step, command string) act {
	return func(ctx context.Context) error {
		if w.status.Steps[step] == Done {
			return nil
		}
		node, err := w.recheck(ctx)
		if err != nil {
			return err
		}
		return w.shell(ctx, step, u.local(node), withVersion(command, w.stage.Version))
	}
}

// withVersion puts a version into the environment of a command. It is one of a Spec
// that was checked, and has nothing in it that a shell would read.
func withVersion(command, version string) string {
	return "export REFIT_VERSION='" + strings.ReplaceAll(version, "'", "") + "'\n" + command
}

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

// awaitServer waits, between two tries of a step, until the API server answers: it may be
// away because its own machine, or this one, is worked on.
func (w *worker) awaitServer(ctx context.Context) error {
	again := w.clock.NewTimer(lookAgain)
	select {
	case <-again.C():
	case <-ctx.Done():
		again.Stop()
		return context.Cause(ctx)
	}
	_, err := w.recheck(ctx)
	return err
}

// failed says in which state a step that failed leaves the node, and what to do.
func (u upgrading) failed(ctx context.Context, w *worker, p Procedure, s MachineStep, err error) error {
	if err := w.record(Record{Kind: KindStep, Node: w.target.Name, Step: s.Name, State: Lost, Reason: err.Error()}); err != nil {
		return err
	}
	advice := hint.Of(err)
	if advice == "" {
		advice = "see its output and the machine; once the cause is mended, resume"
	}
	return &failure{
		reason: fmt.Sprintf("%s: %v; %s", s.Text, err, u.state(ctx, w, p)),
		hint:   advice + ": refit runs resume " + w.spec.Run + " carries on where the machine is",
	}
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

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/probe"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
)

// Restorer makes a data directory of a snapshot; an etcd.Worker is one.
type Restorer interface {
	Restore(ctx context.Context, file string, r etcd.Restore) error
}

// Operator carries restores out.
type Operator struct {
	Store *run.Store
	Sink  event.Sink
	Clock clock.WithTicker
	// Etcd makes data directories, in the directory of the run.
	Etcd Restorer
	// Reach returns the machine of a node, for the named run. It is asked about nodes that
	// the cluster may not know: only their names count.
	Reach func(node *corev1.Node, run string) (host.Machine, error)
	// Ask asks the API server for something that takes all of it; nil: it is not waited for,
	// and its outage is not measured.
	Ask func(ctx context.Context) error
	// Aftercare says what somebody should see to afterwards; nil: nobody looks.
	Aftercare func(ctx context.Context) ([]string, error)
	// Twin is the embedded cluster that is restored; nil: it is one of machines.
	Twin *twin.Twin

	controls func(host.Machine, run.Member) control // newControl, but in tests
	parks    func(run.Member) string                // parkDir, but in tests
}

// restoring is one run in this process.
type restoring struct {
	spec     *run.Spec
	held     *run.Held
	machines []*machine
	operator *Operator
	etcd     Restorer
	scratch  string
	ask      func(ctx context.Context) error
	clock    clock.WithTicker
	sink     event.Sink

	mu      sync.Mutex
	outages []time.Duration
}

// Begin carries out a new restore. The error is about the beginning, and nothing was changed then.
func (o *Operator) Begin(ctx context.Context, spec *run.Spec) (run.Outcome, error) {
	held, err := o.Store.Begin(ctx, spec)
	if err != nil {
		return run.Outcome{}, err
	}
	return o.carryOut(ctx, held)
}

// Resume carries on a restore that was killed, stopped, or failed.
func (o *Operator) Resume(ctx context.Context, id string) (run.Outcome, error) {
	held, status, err := o.Store.Take(ctx, id)
	if err != nil {
		return run.Outcome{}, err
	}
	if held == nil {
		return run.Outcome{
			Run: id, Result: event.ResultDone, Status: status, NothingLeft: true,
			Reason: fmt.Sprintf("run %s was %s at %s: there is nothing left to do", id, status.Phase, status.Updated.Format(time.RFC3339)),
		}, nil
	}
	return o.carryOut(ctx, held)
}

func (o *Operator) take(held *run.Held) (*restoring, error) {
	spec := held.Status().Spec
	if spec.Restore == nil {
		return nil, fmt.Errorf("run %s restores nothing", spec.Run)
	}
	if spec.Restore.Members[0].Method == run.Embedded && o.Twin == nil {
		return nil, fmt.Errorf("run %s restores a twin, and there is none", spec.Run)
	}
	r := &restoring{
		spec: spec, held: held, operator: o, etcd: o.Etcd, scratch: o.Store.Dir(spec.Run), ask: o.Ask, clock: o.Clock, sink: o.Sink,
	}
	for _, member := range spec.Restore.Members {
		m, err := o.Reach(nodeOf(member.Node), spec.Run)
		if err != nil {
			return nil, fmt.Errorf("machine %s: %w", member.Node, err)
		}
		r.machines = append(r.machines, o.machine(m, member, spec))
	}
	return r, nil
}

// nodeOf is a Node of which nothing but the name is known.
func nodeOf(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
}

func (o *Operator) carryOut(ctx context.Context, held *run.Held) (run.Outcome, error) {
	r, err := o.take(held)
	if err != nil {
		return run.Outcome{}, errors.Join(err, held.Close())
	}
	begun := o.Clock.Now()
	r.emit(event.Event{Type: event.RunStarted, Nodes: r.names()})
	stop := r.watchAPI(ctx)
	err = r.all(ctx)
	stop()
	outcome := r.close(ctx, err, o.Clock.Since(begun))
	return outcome, held.Close()
}

func (r *restoring) names() (list []string) {
	for _, n := range r.spec.Nodes {
		list = append(list, n.Name)
	}
	return list
}

// tell says that a phase begins.
func (r *restoring) tell(p phase) {
	r.emit(event.Event{Type: event.Restoring, Nodes: r.names(), Message: p.words})
}

// all does the phases that are not done yet.
func (r *restoring) all(ctx context.Context) error {
	if r.givenUp() {
		return errGivenUp
	}
	for i, p := range r.phases() {
		if r.held.StageState(i+1, p.step) == run.Done {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.before != nil {
			if err := r.do(ctx, phase{each: p.before}); err != nil {
				return fmt.Errorf("%s: %w", p.words, err)
			}
		}
		if err := r.held.Record(run.Record{Kind: run.KindStage, Stage: i + 1, Step: p.step, State: run.Intent}); err != nil {
			return err
		}
		r.tell(p)
		if err := r.do(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.words, err)
		}
		if err := r.held.Record(run.Record{Kind: run.KindStage, Stage: i + 1, Step: p.step, State: run.Done}); err != nil {
			return err
		}
	}
	for _, n := range r.spec.Nodes {
		if err := r.held.Record(run.Record{Kind: run.KindNodeDone, Node: n.Name}); err != nil {
			return err
		}
		r.emit(event.Event{Type: event.NodePhase, Node: n.Name, Phase: event.PhaseDone})
	}
	return nil
}

// do does a phase on all machines.
func (r *restoring) do(ctx context.Context, p phase) error {
	errs := make([]error, len(r.machines))
	var all sync.WaitGroup
	for i, m := range r.machines {
		each := func() {
			if err := p.each(ctx, m); err != nil {
				errs[i] = hint.Wrap(fmt.Errorf("machine %s: %w", m.member.Node, err), "%s", hint.Of(err))
			}
		}
		if p.turns {
			if each(); errs[i] != nil {
				return errs[i]
			}
			continue
		}
		all.Go(each)
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil || p.once == nil {
		return err
	}
	return p.once(ctx)
}

// watchAPI tells when the API server stops answering, and when it answers again.
func (r *restoring) watchAPI(ctx context.Context) (stop func()) {
	if r.ask == nil {
		return func() {}
	}
	return probe.Probe{Ask: r.ask, Clock: r.clock}.Start(ctx, r.tellOutage)
}

func (r *restoring) tellOutage(o probe.Outage) {
	if !o.End.IsZero() {
		r.mu.Lock()
		r.outages = append(r.outages, o.End.Sub(o.Begin))
		r.mu.Unlock()
	}
	r.sink.Emit(run.OutageEvent(r.spec.Run, "", o))
}

func (r *restoring) emit(e event.Event) {
	e.Time, e.Run = r.clock.Now(), r.spec.Run
	r.sink.Emit(e)
}

// close records the end of this process's work and tells it.
func (r *restoring) close(ctx context.Context, err error, took time.Duration) run.Outcome {
	o := run.Outcome{Run: r.spec.Run, Result: event.ResultDone, Status: r.held.Status()}
	record := run.Record{Kind: run.KindFinished, Result: event.ResultDone}
	if err != nil {
		o.Result, o.Reason = event.ResultFailed, err.Error()
		if ctx.Err() != nil {
			o.Result = event.ResultUnfinished
		}
		o.Hint = fmt.Sprintf("carry on: refit runs resume %s", r.spec.Run)
		switch {
		case r.givenUp():
			o.Hint = fmt.Sprintf("refit runs abort %s goes on with that", r.spec.Run)
		case r.state(stepStartEtcd) == "":
			o.Hint += fmt.Sprintf("; give up, with everything as it was: refit runs abort %s", r.spec.Run)
		}
		if h := hint.Of(err); h != "" {
			o.Hint = h + "; " + o.Hint
		}
		record = run.Record{Kind: run.KindStopped, Result: o.Result, Reason: o.Reason}
	} else {
		o.Reason = r.summary()
	}
	_ = r.held.Record(record) // the work is over in any case; the journal merely does not say so
	r.emit(event.Event{Type: event.Summary, Result: o.Result, Message: o.Reason, Hint: o.Hint, Seconds: took.Seconds()})
	return o
}

func (r *restoring) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum time.Duration
	for _, o := range r.outages {
		sum += o
	}
	text := fmt.Sprintf("etcd is restored to revision %d of %s", r.spec.Restore.Revision, r.spec.Restore.Source())
	if sum > 0 {
		text += fmt.Sprintf("; the API server did not answer for %s", sum.Round(100*time.Millisecond))
	}
	return text
}

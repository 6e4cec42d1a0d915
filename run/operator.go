// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/plan"
)

// Operator begins, resumes and aborts runs.
type Operator struct {
	Client kubernetes.Interface
	// Server is the URL of the API server, with nothing in it that opens it (cluster.ServerName); it tells clusters apart where nothing better does.
	Server string
	Store  *Store
	Sink   event.Sink
	Clock  clock.WithTicker
	// Version asks the API server for its version over a connection of its own, so that it may be any of those behind
	// one address; nil asks as for everything else.
	Version func(ctx context.Context) (string, error)
	// Etcd proves the backups that are taken before upgrades.
	Etcd etcd.Worker
}

// BlockedError says that it would not be safe to begin; nothing was changed.
type BlockedError struct{ Err error }

func (e *BlockedError) Error() string { return e.Err.Error() }
func (e *BlockedError) Unwrap() error { return e.Err }

// Prepared is a run that is ready to begin: everything that can be known
// beforehand was looked at, and nothing was changed.
type Prepared struct {
	Spec *Spec
	// Slots is how many nodes of the cluster may be out at once, Out those that are.
	Slots, Total int
	Out          []NodeReason
	// Pods is how many have to leave the nodes.
	Pods int
	// Plan is the order in which they go, with what is expected of it; Ground is
	// what it stands on.
	Plan   *plan.Plan
	Ground plan.Ground
	// Surges are the pods that can never be evicted, whose Deployments are restarted instead.
	Surges []*cluster.Pod
	// Warnings are what is lost on the way, and what will not go well.
	Warnings []string
	// Blocked says why it would not be safe to begin, if it would not: only Plan
	// returns such a one. The blockers of the Plan say the same.
	Blocked error

	refused  []cluster.Finding // nodes with pods that need one more flag
	operator *Operator
	watcher  *cluster.Watcher
	stop     context.CancelFunc
}

// Close ends what Prepare began. It is called in any case.
func (p *Prepared) Close() { p.stop() }

// Prepare looks at the cluster and says what a run for the Request would be. The
// error is an *InputError or a *BlockedError if that is what is wrong.
func (o *Operator) Prepare(ctx context.Context, r Request) (*Prepared, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	p, err := o.opened(ctx, func(watching context.Context) (*Prepared, error) { return o.prepare(ctx, watching, r) })
	return p.unblocked(err)
}

func (o *Operator) prepare(ctx, watching context.Context, r Request) (*Prepared, error) {
	return o.prepareSpec(ctx, watching, func(s *cluster.Snapshot, id Identity, now time.Time) (*Spec, error) { return newSpec(r, s, id, now) })
}

// prepareSpec looks at the cluster, and judges what a run of the Spec would be that is
// made for it.
func (o *Operator) prepareSpec(ctx, watching context.Context, specFor func(*cluster.Snapshot, Identity, time.Time) (*Spec, error)) (*Prepared, error) {
	watcher, err := o.watch(ctx, watching)
	if err != nil {
		return nil, err
	}
	id, err := o.identity(ctx)
	if err != nil {
		return nil, err
	}
	snapshot := watcher.Snapshot()
	spec, err := specFor(snapshot, id, o.Clock.Now())
	if err != nil {
		return nil, err
	}
	warnings, err := spec.checkAccess(snapshot)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Spec: spec, Warnings: warnings, operator: o, watcher: watcher, Total: len(snapshot.Nodes)}
	if spec.Upgrade != nil && (spec.Upgrade.AllAtOnce || len(spec.Nodes) == 0) { // nothing is drained
		return p, lockedByOther(ctx, o.Client, o.Clock.Now())
	}
	err = p.judge(ctx, snapshot, spec.view(spec.withSurge(snapshot)))
	return p, err
}

// rehearse asks beforehand what would stop the run in the middle.
func (p *Prepared) rehearse(ctx context.Context, s *cluster.Snapshot, v View) error {
	options, err := p.Spec.Drain.options(p.Spec.Run, p.operator.Clock)
	if err != nil {
		return &InputError{err}
	}
	drainer := drain.New(p.operator.Client, p.watcher, options, event.Discard)
	var refused, lost []string
	var stuck []event.Remaining
	for _, target := range p.Spec.Nodes {
		selection := drainer.Select(target.Name)
		if err := selection.Err(); err != nil {
			refused = append(refused, err.Error())
			p.refused = append(p.refused, cluster.Finding{
				Severity: cluster.Blocker, Code: FlagMissing, Object: cluster.Object{Kind: "Node", Name: target.Name},
				Message: strings.TrimPrefix(err.Error(), "node "+target.Name+": "),
				Hint:    "add the flags named there if those pods may go, or leave them out with --pod-selector",
			})
		}
		p.Pods += len(selection.Leave)
		if n := s.Node(target.Name); n != nil && p.refuseLost(n.Node, len(selection.Leave)) {
			lost = append(lost, target.Name)
		}
		stuck = append(stuck, p.singletons(s, target.Name, selection.Leave)...)
		for _, w := range selection.Warnings {
			p.Warnings = append(p.Warnings, "node "+target.Name+": "+w)
		}
	}
	p.Warnings = append(p.Warnings, leftCordoned(s, p.Spec)...)
	if len(lost) > 0 {
		return p.lostError(lost)
	}
	if len(refused) > 0 {
		return hint.Wrap(&BlockedError{errors.New(strings.Join(refused, "\n"))},
			"add the flags named there if those pods may go, or leave them out with --pod-selector; nothing was changed")
	}
	if len(stuck) > 0 {
		return hint.Wrap(&BlockedError{errors.New(stuckText(stuck))}, "%s", stuckHint(stuck, p.Spec, p.Total))
	}
	if err := p.rehearseSurges(ctx, s); err != nil {
		return err
	}
	if p.Plan == nil {
		if err := p.plan(v); err != nil {
			return err
		}
	} else { // it was saved and approved, without blockers
		p.Plan.Blockers = append([]cluster.Finding{}, v.World.DeadEnd(p.Spec.intent(p.Spec.MaxUnavailable.Of(len(v.Nodes))), p.Spec.order(v.World, nil))...)
	}
	status := statusOf([]Record{{Kind: KindCreated, Spec: p.Spec}})
	d := Next(v, p.Spec, Progress{Nodes: status.Nodes})
	p.Slots, p.Out = d.Slots, d.Out
	if len(d.Start) == 0 && len(d.Out) >= d.Slots {
		// If the slots are taken by a run that is at work, that is what is in the way.
		if err := lockedByOther(ctx, p.operator.Client, p.operator.Clock.Now()); err != nil {
			return err
		}
		return hint.Wrap(&BlockedError{errors.New(whyNone(d))},
			"bring those nodes back (refit uncordon NODE; if a run cordoned them, refit runs resume or abort it), or allow more with --max-unavailable; nothing was changed")
	}
	if stops := p.Plan.DeadEnd(); len(stops) > 0 {
		if err := lockedByOther(ctx, p.operator.Client, p.operator.Clock.Now()); err != nil {
			return err // what it has taken out may be what is in the way
		}
		return deadEnd(stops)
	}
	return nil
}

// Run begins the prepared run and works until it ends. The error is about the
// beginning, and nothing was changed then: a *LockedError, or a journal that
// cannot be written. How the run itself went is in the Outcome.
func (p *Prepared) Run(ctx context.Context) (Outcome, error) {
	o := p.operator
	if p.Blocked != nil {
		return Outcome{}, p.Blocked
	}
	if err := p.Spec.validate(); err != nil {
		return Outcome{}, &InputError{err}
	}
	journal, err := o.Store.create(ctx, p.Spec)
	if err != nil {
		return Outcome{}, err
	}
	o.keepPlan(journal, p.Plan)
	outcome, err := o.work(ctx, p.watcher, journal, statusOf([]Record{{Kind: KindCreated, Time: o.Clock.Now(), Spec: p.Spec}}), UnknownStop)
	closed := journal.Close()
	if err != nil { // it never began
		return Outcome{}, errors.Join(err, closed, o.Store.remove(p.Spec.Run))
	}
	return outcome, closed
}

// Resume carries on a run that was killed, stopped, or had nodes that failed,
// which are tried again. A run that is closed has nothing left to do: its
// Outcome says so.
func (o *Operator) Resume(ctx context.Context, run string, unknown UnknownCommand) (Outcome, error) {
	journal, status, torn, err := o.Store.open(ctx, run)
	if err != nil {
		return Outcome{}, err
	}
	outcome, err := o.resume(ctx, journal, status, torn, unknown)
	return outcome, errors.Join(err, journal.Close())
}

func (o *Operator) resume(ctx context.Context, journal *Journal, status *Status, torn int, unknown UnknownCommand) (Outcome, error) {
	if status.Closed() {
		// Its process may have been killed right after the last record. The lock
		// expires by itself if it cannot be released, and no other cluster has it.
		_ = o.releaseLeftover(ctx, status.Spec.Run)
		return Outcome{
			Run: status.Spec.Run, Result: event.ResultDone, Status: status, NothingLeft: true,
			Reason: fmt.Sprintf("run %s was %s at %s: there is nothing left to do", status.Spec.Run, status.Phase, status.Updated.Format(time.RFC3339)),
		}, nil
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	watcher, err := o.rejoin(ctx, watching, status.Spec)
	if err != nil {
		return Outcome{}, err
	}
	if err := complete(watcher.Snapshot(), status); err != nil {
		return Outcome{}, err
	}
	if torn > 0 {
		o.Sink.Emit(event.Event{
			Time: o.Clock.Now(), Type: event.Warning, Run: status.Spec.Run,
			Message: fmt.Sprintf("the last record of the journal was incomplete (%d bytes); it was cut off: what it announced had not been done", torn),
		})
	}
	return o.work(ctx, watcher, journal, status, unknown)
}

// complete fails if the cluster shows that the journal has lost records.
func complete(s *cluster.Snapshot, status *Status) error {
	for _, n := range s.Nodes {
		mark, marked := cluster.MarkOf(n.Node)
		if !marked || mark.Run != status.Spec.Run {
			continue
		}
		if known := status.Nodes[n.Name]; known == nil || known.Steps[StepCordon] == "" {
			return hint.Wrap(fmt.Errorf("the journal of run %s has lost records: node %s carries the run's mark, and the journal does not know of it",
				status.Spec.Run, n.Name), "refit runs abort %s uncordons what the run cordoned; then begin a new run", status.Spec.Run)
		}
	}
	return nil
}

// work takes the lock and lets the engine run. An error means that nothing was done.
func (o *Operator) work(ctx context.Context, watcher *cluster.Watcher, journal *Journal, status *Status, unknown UnknownCommand) (Outcome, error) {
	spec := status.Spec
	counted := newTally()
	options, err := spec.Drain.options(spec.Run, o.Clock)
	if err != nil {
		return Outcome{}, err
	}
	todo, closing, err := o.workOf(spec)
	if err != nil {
		return Outcome{}, err
	}
	defer closing()
	machine, err := os.Hostname()
	if err != nil {
		return Outcome{}, fmt.Errorf("find this machine's name: %w", err)
	}
	lock, err := o.acquire(ctx, spec, machine)
	if err != nil {
		return Outcome{}, err
	}
	defer lock.held(ctx)()

	sink, stopRecording := o.recording(ctx, watcher, journal, spec)
	defer stopRecording()

	e := &engine{
		spec: spec, status: status, log: journal, lock: lock, clock: o.Clock, sink: sink, unknown: unknown, tally: counted,
		cluster: &live{
			Watcher: watcher, client: o.Client, clock: o.Clock,
			drainer: drain.New(o.Client, watcher, options, event.Tee(counted, sink)),
		},
		work: todo,
	}
	e.stop = func(error) {}
	if err := e.record(Record{Kind: KindOpened, Process: &Process{PID: os.Getpid(), Host: machine}}); err != nil {
		return Outcome{}, hint.Wrap(err, "make room for the journal; nothing was changed")
	}
	return e.run(ctx), nil
}

// Ask asks the API server for something that takes all of it, etcd too. A refusal is an answer.
func (o *Operator) Ask(ctx context.Context) error {
	_, err := o.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError {
		return nil
	}
	return err
}

// watch reads the cluster for the first time, until ctx ends, and then watches
// it until watching ends.
func (o *Operator) watch(ctx, watching context.Context) (*cluster.Watcher, error) {
	both, cancel := context.WithCancelCause(watching)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	w, err := connect(both, o.Client, o.Clock)
	if !stop() && err == nil {
		err = context.Cause(ctx) // it has ended the watch too
	}
	if err != nil {
		cancel(err)
		return nil, err
	}
	return w, nil
}

func (o *Operator) identity(ctx context.Context) (Identity, error) {
	id := Identity{Server: cluster.ServerName(o.Server)}
	ns, err := o.Client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case err == nil:
		id.UID = ns.UID
	case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
		return id, fmt.Errorf("identify the cluster: %w", err)
	}
	return id, nil
}

func (o *Operator) sameCluster(ctx context.Context, spec *Spec) error {
	id, err := o.identity(ctx)
	if err != nil {
		return err
	}
	if !id.Same(spec.Cluster) {
		return hint.Wrap(badInput("run %s belongs to another cluster: it was begun at %s, this is %s", spec.Run, spec.Cluster.Server, id.Server),
			"choose that cluster with --context or --kubeconfig")
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report/html"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/witness"
)

// Name is that of the demo's twin.
const Name = "demo"

// How long things take on the demo's machines. Nothing depends on them but how
// long there is to watch.
const (
	podReady       = time.Second
	podTermination = time.Second
	reboot         = 4 * time.Second
)

// MinNodes is how many nodes the shop needs at least: no two of its checkout's
// pods go on one node, and one node is out.
const MinNodes = 6

// upLimit is how long bringing the cluster up may take; it takes seconds.
const upLimit = 5 * time.Minute

// cleanup is how long taking the twin down may last after an interruption.
const cleanup = time.Minute

// Options say what to show.
type Options struct {
	// Nodes is how many nodes the cluster has, MinNodes at least; MaxUnavailable
	// how many of them may be out at once.
	Nodes          int
	MaxUnavailable run.Share
	// Keep leaves the cluster running.
	Keep bool
	// Report is the file that the report of the run is written to.
	Report string
	// Sink takes what happens during maintenance.
	Sink event.Sink
	// Say takes what happens before and after it, a line at a time.
	Say   func(line string)
	Clock clock.WithTicker
	// UserAgent is what refit's client calls itself.
	UserAgent string
	// Etcd reads snapshots, and makes data directories of them.
	Etcd etcd.Worker
}

// Run shows it. The error says why there is no Outcome; the Outcome says how it
// went. Whatever happens, the twin is taken down, unless it is to be kept. When
// ctx ends, maintenance stops in order before that.
func Run(ctx context.Context, o Options) (out *Outcome, err error) {
	if o.Nodes < MinNodes {
		return nil, fmt.Errorf("%d nodes: the demo needs %d at least", o.Nodes, MinNodes)
	}
	if err := html.Writable(o.Report); err != nil {
		return nil, hint.Wrap(err, "name another file with --report")
	}
	unlock, err := lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := o.removeOld(ctx); err != nil {
		return nil, err
	}
	tw, err := o.up(ctx)
	if err != nil {
		// Up removes what it could not make, but not what it waited for in vain.
		return nil, errors.Join(err, o.down(ctx, func(ctx context.Context) error { return twin.Down(ctx, Name) }))
	}
	if !o.Keep {
		// By way of tw: the cluster ends when nobody holds it any more.
		defer func() { err = errors.Join(err, o.down(ctx, tw.Down)) }()
	}
	return o.show(ctx, tw)
}

func (o *Options) up(ctx context.Context) (*twin.Twin, error) {
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	return twin.Up(ctx, twin.Options{
		Name: Name, Scenario: "shop", Nodes: o.Nodes, Wait: true, Tied: !o.Keep,
		PodReady: podReady, PodTermination: podTermination, Reboot: reboot,
	}, o.Say)
}

// removeOld takes away what a demo left that was killed, or that was to be kept.
func (o *Options) removeOld(ctx context.Context) error {
	err := twin.Down(ctx, Name)
	switch {
	case errors.Is(err, twin.ErrNotFound):
		return nil
	case err == nil:
		o.Say("removed the cluster of an earlier demo")
		return nil
	}
	return fmt.Errorf("remove the cluster of an earlier demo: %w", err)
}

func (o *Options) down(ctx context.Context, down func(context.Context) error) error {
	o.Say("taking the cluster down")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if err := down(ctx); err != nil && !errors.Is(err, twin.ErrNotFound) {
		return fmt.Errorf("take the demo's cluster down: %w", err)
	}
	return nil
}

// show is the demo on a cluster that is up.
func (o *Options) show(ctx context.Context, tw *twin.Twin) (*Outcome, error) {
	admin, err := tw.RESTConfig()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", tw.MaintainerKubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the maintainer's kubeconfig: %w", err)
	}
	config.QPS, config.UserAgent = -1, o.UserAgent
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	store, err := o.store(tw)
	if err != nil {
		return nil, err
	}
	if err := o.check(ctx, client); err != nil {
		return nil, err
	}
	watching, err := witness.Start(ctx, witness.Options{
		Config: admin, AuditLog: tw.AuditLog(), ControlPlane: []string{twin.SystemGroup}, Clock: o.Clock,
	})
	if err != nil {
		return nil, err
	}
	out, err := o.maintain(ctx, client, config, store)
	if err != nil {
		return nil, errors.Join(err, watching.Close())
	}
	if out.Run.Result == event.ResultUnfinished {
		// Interrupted: there is nothing to judge yet.
		return out, watching.Close()
	}
	o.Say("asking the witness")
	if out.Verdict, err = watching.Judge(ctx); err != nil {
		return nil, err
	}
	if out.unreported = o.report(store, out.Run.Run); out.unreported == nil {
		out.Report = o.Report
	}
	out.Restored, out.unrestored = o.restore(ctx, tw, admin, store)
	if out.unrestored != nil && ctx.Err() != nil {
		return nil, out.unrestored
	}
	return out, nil
}

// check does what `refit check` does, in a line for each sort of finding.
func (o *Options) check(ctx context.Context, client kubernetes.Interface) error {
	snapshot, err := cluster.Read(ctx, client)
	if err != nil {
		return err
	}
	type sort struct{ severity, code string }
	var sorts []sort
	objects := map[sort][]string{}
	blocked := false
	for _, f := range check.Run(snapshot) {
		s := sort{f.Severity.String(), f.Code}
		if objects[s] == nil {
			sorts = append(sorts, s)
		}
		objects[s] = append(objects[s], f.Object.String())
		blocked = blocked || f.Severity == cluster.Blocker
	}
	o.Say(fmt.Sprintf("checked %d nodes, %d pods, %d budgets:", len(snapshot.Nodes), len(snapshot.Pods), len(snapshot.Budgets)))
	for _, s := range sorts {
		o.Say(fmt.Sprintf("  %-8s %-24s %s", s.severity, s.code, phrase.Few(objects[s], 2)))
	}
	if blocked {
		return errors.New("the check found what makes maintenance unsafe: nothing was changed")
	}
	return nil
}

// store is where the journal of the run goes: away with the cluster, or where
// `refit runs` finds it.
func (o *Options) store(tw *twin.Twin) (*run.Store, error) {
	if o.Keep {
		return run.DefaultStore(o.Clock)
	}
	return run.NewStore(filepath.Join(tw.Dir(), "runs"), o.Clock), nil
}

// maintain does what `refit maintain --all --reboot` does.
func (o *Options) maintain(ctx context.Context, client kubernetes.Interface, config *rest.Config, store *run.Store) (*Outcome, error) {
	watch := &stopwatch{}
	operator := &run.Operator{
		Client: client, Server: config.Host, Store: store, Sink: event.Tee(watch, o.sink()), Clock: o.Clock,
	}
	prepared, err := operator.Prepare(ctx, run.Request{
		All: true, Reboot: true, MaxUnavailable: o.MaxUnavailable, Timeouts: run.DefaultTimeouts(), WorkEstimate: reboot,
		// The shop has a pod that nobody would replace, and pods with local data:
		// an operator who has seen that in the check lets them go.
		Drain: run.Drain{IgnoreDaemonSets: true, Force: true, DeleteEmptyDirData: true},
	})
	if err != nil {
		return nil, err
	}
	defer prepared.Close()
	o.Say(fmt.Sprintf("maintaining %d nodes, at most %d at a time: %d pods move, each node reboots",
		len(prepared.Spec.Nodes), prepared.Slots, prepared.Pods))
	begun := o.Clock.Now()
	outcome, err := prepared.Run(ctx)
	if err != nil {
		return nil, err
	}
	return &Outcome{
		Nodes: len(prepared.Spec.Nodes), Run: outcome,
		Took: o.Clock.Since(begun), OneByOne: watch.sum(),
	}, nil
}

// report does what `refit runs report` does.
func (o *Options) report(store *run.Store, id string) error {
	r, err := html.Load(store, id, o.Clock.Now())
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return html.WriteFile(o.Report, r)
}

// sink is o.Sink, but for the advice to carry on with a run whose cluster is
// about to go.
func (o *Options) sink() event.Sink {
	if o.Keep {
		return o.Sink
	}
	return event.SinkFunc(func(e event.Event) {
		if e.Type == event.Summary {
			e.Hint = ""
		}
		o.Sink.Emit(e)
	})
}

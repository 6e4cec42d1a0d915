// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// StartedError says that a restore cannot be given up any more: etcd may run on the
// restored data, and may have taken writes.
type StartedError struct{ Run string }

func (e *StartedError) Error() string {
	return fmt.Sprintf("run %s has begun to start etcd on the restored data: it cannot be given up any more", e.Run)
}

// Abort gives a restore up: the old data directories are put back, etcd and then the API
// servers are started again, and what was laid beside is removed. It can be called again
// after it failed. The error is a *StartedError if it is too late.
func (o *Operator) Abort(ctx context.Context, id string) (err error) {
	held, status, err := o.Store.Take(ctx, id)
	if err != nil {
		return err
	}
	if held == nil {
		return &run.InputError{Err: fmt.Errorf("run %s was %s already: there is nothing to abort", id, status.Phase)}
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	r, err := o.take(held)
	if err != nil {
		return err
	}
	if r.state(stepStartEtcd) != "" {
		return hint.Wrap(&StartedError{id}, "refit runs resume %s finishes it; the old data is in %s on each machine, and manifests that were put out of the kubelet's sight are in %s", id, r.machines[0].data.old(), r.machines[0].park)
	}
	undo := r.undo()
	if err := held.Record(run.Record{Kind: run.KindStage, Step: stepAbort, State: run.Intent}); err != nil {
		return err
	}
	for _, p := range undo {
		r.tell(p)
		if err := r.do(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.words, err)
		}
	}
	if err := r.removeScratch(); err != nil {
		return err
	}
	return held.Record(run.Record{Kind: run.KindAborted, Reason: "everything is as it was"})
}

// removeScratch removes data directories that a process that was killed was about to send.
func (r *restoring) removeScratch() error {
	for _, m := range r.machines {
		if err := os.RemoveAll(r.scratchOf(m)); err != nil {
			return fmt.Errorf("remove what was to be sent: %w", err)
		}
	}
	return nil
}

// errGivenUp says that a restore is only given up any more.
var errGivenUp = errors.New("it is being given up: some of the old data may be back")

// givenUp tells whether somebody has begun to give the restore up.
func (r *restoring) givenUp() bool { return r.held.StageState(0, stepAbort) != "" }

// undo is what takes back what was done until etcd was to be started.
func (r *restoring) undo() []phase {
	if r.spec.Restore.Bootstrap != nil {
		return r.undoBootstrap()
	}
	back := phase{words: "putting the old data directories back", each: func(ctx context.Context, m *machine) error {
		if err := m.data.giveBack(ctx); err != nil {
			return err
		}
		if to := r.spec.Restore.DataDir; to != "" {
			return m.pointBack(ctx, to)
		}
		return nil
	}}
	tidy := phase{words: "tidying up", each: func(ctx context.Context, m *machine) error { return m.disclaim(ctx, r.spec.Run) }}
	if r.state(stepStopAPI) == "" { // nothing was stopped
		return []phase{back, tidy}
	}
	if r.state(stepStopEtcd) == "" { // etcd serves, and nothing was exchanged
		return []phase{{words: wordsStartAPI, each: r.startAPI, once: r.awaitAPI}, back, tidy}
	}
	return []phase{
		{words: "stopping what runs of the control plane", each: func(ctx context.Context, m *machine) error {
			return m.stopAll(ctx, apiServer, controllerManager, scheduler, etcdName)
		}},
		back,
		{words: "starting etcd", each: r.startEtcd, once: r.agreeOnOld},
		{words: wordsStartAPI, each: r.startAPI, once: r.awaitAPI},
		tidy,
	}
}

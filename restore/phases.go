// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"refit.dev/refit/etcd"
	"refit.dev/refit/run"
)

// phase is one step of a restore. It begins when the one before is done on all machines.
type phase struct {
	step  run.Step
	words string
	// before is done on every machine before the phase is recorded as begun: what it refuses was not begun. It changes nothing.
	before func(ctx context.Context, m *machine) error
	// each is done on every machine, all at once or, with turns, one after the other;
	// then once. Both can be done again.
	each  func(ctx context.Context, m *machine) error
	turns bool
	once  func(ctx context.Context) error
}

// phases are the whole of a run.
func (r *restoring) phases() []phase {
	if r.spec.Restore.Bootstrap != nil {
		return r.bootstrapPhases()
	}
	return r.restorePhases()
}

// restorePhases are the whole of a restore. Until the exchange everything can be taken back. What
// takes longest, to make the directories and to send them, is done while the cluster still serves.
func (r *restoring) restorePhases() []phase {
	return []phase{
		{step: stepLay, words: "laying the restored data directories beside the ones in use", each: r.lay, turns: true},
		{step: stepStopAPI, words: "stopping the API servers, controller managers and schedulers", each: func(ctx context.Context, m *machine) error {
			return m.stopAll(ctx, apiServer, controllerManager, scheduler)
		}},
		{step: stepStopEtcd, words: "stopping etcd", each: func(ctx context.Context, m *machine) error { return m.stopAll(ctx, etcdName) }},
		{step: stepExchange, words: "exchanging the data directories", each: r.exchange},
		{step: stepStartEtcd, words: "starting etcd", each: r.startEtcd, once: r.agreeOnRestored},
		{step: stepStartAPI, words: wordsStartAPI, each: r.startAPI, once: r.awaitAPI},
		{step: stepKubelets, words: "restarting the kubelets", each: func(ctx context.Context, m *machine) error { return m.restartKubelet(ctx) }, once: r.restartOthers},
		{step: stepTidy, words: "tidying up", each: r.tidy, once: r.lookAfter},
	}
}

const wordsStartAPI = "starting the API servers, controller managers and schedulers"

// Steps of a restore; each is a stage of the run.
const (
	stepFiles     run.Step = "files"
	stepLay       run.Step = "lay"
	stepStopAPI   run.Step = "stop-api-servers"
	stepStopEtcd  run.Step = "stop-etcd"
	stepExchange  run.Step = "exchange"
	stepStartEtcd run.Step = "start-etcd"
	stepStartAPI  run.Step = "start-api-servers"
	stepKubelets  run.Step = "restart-kubelets"
	stepTidy      run.Step = "tidy"

	// stepAbort is no phase: from its record on the restore is only given up.
	stepAbort run.Step = "abort"
)

// state is where a step stands in the journal.
func (r *restoring) state(step run.Step) run.State {
	for i, p := range r.phases() {
		if p.step == step {
			return r.held.StageState(i+1, step)
		}
	}
	return ""
}

func (r *restoring) startEtcd(ctx context.Context, m *machine) error {
	if r.spec.Restore.Bootstrap != nil { // it waits for its files until now
		if err := m.startKubelet(ctx); err != nil {
			return err
		}
	}
	return m.startAll(ctx, etcdName)
}

func (r *restoring) tidy(ctx context.Context, m *machine) error {
	if r.spec.Restore.Bootstrap != nil {
		there, err := m.exists(ctx, m.data.aside())
		if err == nil && there { // what was there before: nothing
			err = m.do(ctx, "rmdir", "--", m.data.aside())
		}
		if err != nil {
			return err
		}
	}
	return m.disclaim(ctx, r.spec.Run)
}

func (r *restoring) startAPI(ctx context.Context, m *machine) error {
	return m.startAll(ctx, apiServer, controllerManager, scheduler)
}

// scratchOf is where a member's data directory is made, on this machine.
func (r *restoring) scratchOf(m *machine) string {
	return filepath.Join(r.scratch, "data-"+m.member.Node)
}

// lay makes the member's data directory here and sends it.
func (r *restoring) lay(ctx context.Context, m *machine) (err error) {
	if err := m.claim(ctx, r.spec.Run); err != nil {
		return err
	}
	if done, err := m.data.laidAlready(ctx); err != nil || done {
		return err
	}
	scratch := r.scratchOf(m)
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o700)); err != nil { // a process that was killed has left it
		return fmt.Errorf("make room for the data directory: %w", err)
	}
	defer func() {
		if removeErr := os.RemoveAll(scratch); err == nil {
			err = removeErr
		}
	}()
	dir := filepath.Join(scratch, "data")
	err = r.etcd.Restore(ctx, r.spec.Restore.File, etcd.Restore{
		DataDir: dir, Name: m.member.Name, PeerURLs: m.member.PeerURLs, InitialCluster: initialCluster(r.spec.Restore.Members),
		Token: r.spec.Restore.Token, BumpRevision: r.spec.Restore.BumpRevision, SHA256: r.spec.Restore.SHA256,
	})
	if err != nil {
		return err
	}
	if m.member.Method == run.Embedded {
		if there, err := adopt(dir, m.data.laid()); there || err != nil {
			return err
		}
	}
	return m.data.lay(ctx, &archive{dir})
}

// exchange puts the restored directory in place, and has etcd look there if that is another one.
func (r *restoring) exchange(ctx context.Context, m *machine) error {
	done, err := m.data.exchanged(ctx)
	if err != nil {
		return err
	}
	if !done { // it may be long since they were stopped, by another process, and somebody may have started them
		if err := m.stopAll(ctx, apiServer, controllerManager, scheduler, etcdName); err != nil {
			return err
		}
	}
	if err := m.data.exchange(ctx); err != nil {
		return err
	}
	if r.spec.Restore.DataDir == "" {
		return nil
	}
	return m.point(ctx, m.member.DataDir, r.spec.Restore.DataDir)
}

// initialCluster names all members as etcd's --initial-cluster does.
func initialCluster(members []run.Member) string {
	var list []string
	for _, m := range members {
		for _, u := range m.PeerURLs {
			list = append(list, m.Name+"="+u)
		}
	}
	return strings.Join(list, ",")
}

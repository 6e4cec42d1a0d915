// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"refit.dev/refit/internal/hint"
)

// Who exchanges the data of a twin under it halts it, has etcd run alone, and starts it
// again, all at the ports that it has: what its clients are connected to stays.

// Halt ends every process of the twin; its data stays.
func (t *Twin) Halt(ctx context.Context) error {
	unlock, err := t.lockName(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	return t.halt(ctx)
}

func (t *Twin) halt(ctx context.Context) error {
	if err := t.stop(ctx); err != nil {
		return err
	}
	if t.ended != nil {
		<-t.ended // the supervisor is gone, this reaps it
		t.ended = nil
	}
	return nil
}

// StartEtcd starts etcd and nothing else, and returns when it is ready. It is done already
// if etcd runs, alone or not.
func (t *Twin) StartEtcd(ctx context.Context) error { return t.startAgain(ctx, []string{"etcd"}) }

// Start starts the whole twin again, and returns when its API server is ready. It is done
// already if that runs.
func (t *Twin) Start(ctx context.Context) error { return t.startAgain(ctx, nil) }

// startAgain starts some components, or with nil all of them, of a twin that was halted.
func (t *Twin) startAgain(ctx context.Context, only []string) error {
	rec, err := t.readRecord()
	if err != nil {
		return err
	}
	bin, err := binary()
	if err != nil {
		return err
	}
	unlock, err := t.lockName(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	running, err := t.Running()
	if err != nil || running["kube-apiserver"] || only != nil && running["etcd"] {
		return err
	}
	if err := t.halt(ctx); err != nil { // of etcd alone, if there is that
		return err
	}
	o := rec.Options
	o.Tied = t.tied
	err = t.startOnly(ctx, bin, o, rec.Ports, only)
	if errors.Is(err, errPortTaken) {
		err = hint.Wrap(fmt.Errorf("%w meanwhile", err), "end what listens at %d, %d or %d of 127.0.0.1", rec.Ports.API, rec.Ports.Etcd, rec.Ports.EtcdPeer)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("twin %s: %w", t.name, err), t.halt(ctx))
	}
	return nil
}

// Running tells which components have a process, by their names.
func (t *Twin) Running() (map[string]bool, error) {
	running := map[string]bool{}
	pid, err := t.supervisorPID()
	if err != nil || pid == 0 {
		return running, err
	}
	status, err := t.readStatus()
	if errors.Is(err, fs.ErrNotExist) { // it is just starting
		return running, nil
	}
	if err != nil {
		return nil, fmt.Errorf("twin %s: read the status of its supervisor: %w", t.name, err)
	}
	for _, c := range status.Children {
		running[c.Name] = c.PID != 0
	}
	return running, nil
}

// RestoreDir is where whoever restores the twin's etcd keeps what belongs to that; while
// a file "run" in it names the run that does, Up leaves the twin alone.
func (t *Twin) RestoreDir() string { return t.path("restore") }

// restored says that a restore is under way, or was interrupted.
func (t *Twin) restored() error {
	text, err := os.ReadFile(t.path("restore", "run"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id := strings.TrimSpace(string(text))
	return hint.Wrap(fmt.Errorf("run %s has begun to restore its etcd, and was neither finished nor aborted", id), "refit runs resume %s, or refit runs abort %s", id, id)
}

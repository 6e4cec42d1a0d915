// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/twin"
)

// etcdTools is the module whose etcdctl and etcdutl refit is compared with.
const etcdTools = "lab/build/etcd-3.7"

// restored is one restore, from the snapshot to an etcd that serves.
type restored struct {
	serving time.Duration
	// Of that: until the data directory was there, the control plane was stopped, and
	// etcd was started and looked at.
	made, stopped, started time.Duration
	proof                  time.Duration // before all that
	memory                 int64
}

type savePair struct{ refit, peer sample }

type restorePair struct{ refit, peer restored }

// backupAndRestore saves and restores a database of 1 GB on a twin, by refit and by etcd's tools.
func backupAndRestore(ctx context.Context, b *bench) (s section, err error) {
	if _, err := output(ctx, []string{"go", "build", "-C", etcdTools, "-o", b.state, "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"}); err != nil {
		return section{}, err
	}
	e, err := b.start(ctx, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n"), twin.Options{Nodes: 1})
	if err != nil {
		return section{}, err
	}
	defer func() { err = e.stop(ctx, err) }()
	plane, err := e.twin.Etcd()
	if err != nil {
		return section{}, err
	}
	if err := fillEtcd(ctx, plane.Access); err != nil {
		return section{}, err
	}
	file := filepath.Join(b.state, "snapshot.db")
	saves, err := e.saves(ctx, file)
	if err != nil {
		return section{}, err
	}
	status, err := (etcd.Worker{Argv: []string{filepath.Join(b.bin, "refit"), "backup", "worker"}}).Status(ctx, file)
	if err != nil {
		return section{}, err
	}
	restores, err := e.restores(ctx, file, plane)
	if err != nil {
		return section{}, err
	}
	return backupSection(status, saves, restores), nil
}

// saves has both programs save in turn. The last file stays.
func (e *environment) saves(ctx context.Context, file string) (rounds []savePair, err error) {
	pki := func(name string) string { return filepath.Join(e.twin.Dir(), "pki", name) }
	plane, err := e.twin.Etcd()
	if err != nil {
		return nil, err
	}
	refit := e.refitArgs([]string{"backup", "save", file})
	etcdctl := []string{
		filepath.Join(e.state, "etcdctl"), "--endpoints", plane.ClientURL, "--cacert", pki("etcd-ca.crt"), "--cert", pki("etcd-client.crt"), "--key", pki("etcd-client.key"),
		"snapshot", "save", file,
	}
	save := func(argv []string) (sample, error) {
		if err := os.RemoveAll(file); err != nil {
			return sample{}, err
		}
		syscall.Sync() // what the one before has left to be written is not this one's
		return command(ctx, argv, e.stateDir())
	}
	for i := range e.rounds {
		var p savePair
		work := []func() error{
			func() (err error) { p.peer, err = save(etcdctl); return err },
			func() (err error) { p.refit, err = save(refit); return err },
		}
		if i%2 == 1 {
			work[0], work[1] = work[1], work[0]
		}
		for _, f := range work {
			if err := f(); err != nil {
				return nil, err
			}
		}
		e.logf("save: refit %s, etcdctl %s", p.refit.wall.Round(time.Millisecond), p.peer.wall.Round(time.Millisecond))
		rounds = append(rounds, p)
	}
	return rounds, nil
}

// restores has both programs restore in turn.
func (e *environment) restores(ctx context.Context, file string, plane *twin.Etcd) (rounds []restorePair, err error) {
	for i := range e.longRounds {
		var p restorePair
		work := []func() error{
			func() (err error) { p.peer, err = e.restoreByHand(ctx, file); return err },
			func() (err error) { p.refit, err = e.restoreByRefit(ctx, file, plane); return err },
		}
		if i%2 == 1 {
			work[0], work[1] = work[1], work[0]
		}
		for _, f := range work {
			syscall.Sync()
			if err := f(); err != nil {
				return nil, err
			}
		}
		e.logf("restore: refit %s, by hand %s", p.refit.serving.Round(time.Millisecond), p.peer.serving.Round(time.Millisecond))
		rounds = append(rounds, p)
	}
	return rounds, nil
}

// restoreByRefit restores the twin and reads from the run's events when what was done.
func (e *environment) restoreByRefit(ctx context.Context, file string, plane *twin.Etcd) (restored, error) {
	begun := time.Now()
	out, memory, err := outputAndPeak(ctx, e.refitArgs([]string{"restore", file, "--yes", "-o", "json"}), e.stateDir())
	if err != nil {
		return restored{}, err
	}
	at := map[string]time.Time{}
	for events := json.NewDecoder(bytes.NewReader(out)); events.More(); {
		var e event.Event
		if err := events.Decode(&e); err != nil {
			return restored{}, fmt.Errorf("read refit's events: %w", err)
		}
		if e.Type == event.Restoring {
			words := strings.Fields(e.Message)
			at[words[0]+" "+words[len(words)-1]] = e.Time
		}
	}
	lay, stop, exchange, serve := at["laying use"], at["stopping schedulers"], at["exchanging directories"], at["starting schedulers"]
	if lay.IsZero() || stop.IsZero() || exchange.IsZero() || serve.IsZero() {
		return restored{}, fmt.Errorf("refit's events do not tell all: %v", at)
	}
	olds, err := filepath.Glob(filepath.Join(plane.DataDir, "member.before-*"))
	for _, old := range olds {
		err = errors.Join(err, os.RemoveAll(old))
	}
	return restored{
		proof: lay.Sub(begun), made: stop.Sub(lay), stopped: exchange.Sub(stop), started: serve.Sub(exchange), serving: serve.Sub(lay), memory: memory,
	}, err
}

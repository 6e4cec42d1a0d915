// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
)

// Taker takes a snapshot and proves it, in one go.
type Taker struct {
	Worker Worker
	Clock  clock.PassiveClock
	// Patience is how long an endpoint has to answer.
	Patience time.Duration
	// Cluster is the UID of the namespace kube-system that the snapshot has to have; "" if
	// that is not known.
	Cluster string
}

// Source is a machine of a control plane, by which etcd may be reached.
type Source struct {
	Name string
	// Reach opens the way to it.
	Reach func() (host.Machine, error)
}

// Taken is a snapshot that was saved and proven.
type Taken struct {
	Saved *Saved
	Proof *Proof
	// By is the Source by which etcd was reached.
	By string
}

// Take saves a snapshot to a file by the first of the sources that leads to etcd, and proves it
// in the directory of the file, which is made if it is not there. The file's name is the
// caller's own: what an earlier Take has left under it stays until its successor is proven, which
// takes its place. A file that cannot be proven gets the ending .unproven. The error is ErrUnproven or
// ErrDamaged then, as Verify's. After any other one nothing is left that was not there.
func (t Taker) Take(ctx context.Context, sources []Source, file string) (_ *Taken, err error) {
	fresh := freshOf(file)
	if err := makeRoom(file, fresh); err != nil {
		return nil, fmt.Errorf("make room for the snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFresh(fresh))
		}
	}()
	access, by, err := t.locate(ctx, sources)
	if err != nil {
		return nil, err
	}
	saver := Saver{Access: access, Worker: t.Worker, Clock: t.Clock}
	saved, err := saver.Save(ctx, fresh)
	if err != nil {
		return nil, err
	}
	proof, err := t.Worker.Verify(ctx, fresh, filepath.Dir(file))
	if err == nil && t.Cluster != "" && proof.Status.ClusterUID != "" && proof.Status.ClusterUID != t.Cluster {
		err = hint.Wrap(fmt.Errorf("%s: %w: it is of another cluster: its namespace kube-system has the UID %s, and not %s",
			fresh, ErrUnproven, proof.Status.ClusterUID, t.Cluster), "see that the kubeconfig and the machines belong to one cluster")
	}
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrUnproven) {
		return nil, errors.Join(err, os.Rename(fresh, file+".unproven"))
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(fresh, file), syncDir(filepath.Dir(file))); err != nil {
		return nil, fmt.Errorf("give the snapshot its name: %w", err)
	}
	saved.File = file
	return &Taken{saved, proof, by}, nil
}

// makeRoom sees to it that a file can come to be under the fresh name, and then replace what has
// the other one, which stays if it is a file.
func makeRoom(file, fresh string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if info, err := os.Lstat(file); err == nil && info.IsDir() {
		if err := os.Remove(file); err != nil { // one that is not empty is refused now
			return err
		}
	}
	return removeFresh(fresh)
}

// freshOf is the name that a snapshot has until it is proven.
func freshOf(file string) string { return file + ".new" }

func removeFresh(fresh string) error {
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a snapshot that is not proven, with all the Secrets in it: %w", err)
	}
	return nil
}

// Forsake removes what Takes of a file have left that were killed: a snapshot that is not proven, or half of one, and what was
// restored of it. What was proven stays, and what was found not to be fit. No Take of the file may be under way.
func Forsake(file string) error {
	fresh, dir := freshOf(file), filepath.Dir(file)
	aside.Sweep(dir, asidePrefix(fresh), nil)
	aside.Sweep(dir, scratchPrefix, nil)
	return removeFresh(fresh)
}

// locate finds etcd by the first source that leads to it.
func (t Taker) locate(ctx context.Context, sources []Source) (Access, string, error) {
	if len(sources) == 0 {
		return Access{}, "", errors.New("find etcd: there is no machine of a control plane to ask")
	}
	var errs []error
	for _, s := range sources {
		m, err := s.Reach()
		if err == nil {
			var access Access
			if access, err = LocateAll(ctx, m, t.Patience); err == nil {
				return access, s.Name, nil
			}
		}
		if ctx.Err() != nil {
			return Access{}, "", context.Cause(ctx)
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.Name, err))
	}
	return Access{}, "", hint.Wrap(errors.Join(errs...), "%s", hint.Of(errs[0]))
}

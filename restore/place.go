// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// bootstrapPhases are the whole of a restore onto an empty machine: it gets its files and its data directory, and is
// started. Nothing has to be stopped.
func (r *restoring) bootstrapPhases() []phase {
	all := r.restorePhases()
	skip := func(p phase) bool { return p.step == stepStopAPI || p.step == stepStopEtcd || p.step == stepKubelets }
	all = slices.DeleteFunc(all, skip)
	files := phase{step: stepFiles, words: "putting the files of the control plane on the machine", each: r.place}
	all = append([]phase{files}, all...)
	for i, p := range all {
		switch p.step { // the first, the last that can be taken back, and the one that cannot
		case stepFiles, stepExchange, stepStartEtcd:
			all[i].before = func(ctx context.Context, m *machine) error { return m.alone(ctx, r.spec.Restore.Bootstrap) }
		}
	}
	return all
}

// place puts the files on the machine while its kubelet is stopped. Each appears whole; one that is there is left
// alone if it is the same. It may be long since the machine was looked at: somebody may have made something of it, and
// then nothing is touched.
func (r *restoring) place(ctx context.Context, m *machine) error {
	files, err := readFiles(r.spec.Restore.Bootstrap)
	if err != nil {
		return err
	}
	holder, err := m.claimed(ctx)
	if err != nil {
		return err
	}
	if holder == "" {
		some, err := m.content(ctx)
		if err == nil && len(some) > 0 {
			err = errNotEmpty(some)
		}
		if err != nil {
			return err
		}
	}
	if err := m.claim(ctx, r.spec.Run); err != nil {
		return err
	}
	if some, err := m.runningOf(ctx); err != nil {
		return err
	} else if some != "" {
		return errNotEmpty([]string{some})
	}
	var absent []File
	for _, f := range files {
		same, there, err := m.compareFile(ctx, f)
		switch {
		case err != nil:
			return err
		case !there:
			absent = append(absent, f)
		case !same:
			return fmt.Errorf("%s is there since the run was begun, and other than in the set: see who has made it, and remove it", f.Path)
		}
	}
	if err := m.stopKubelet(ctx); err != nil {
		return err
	}
	for _, dir := range []string{manifestDir, m.data.now} {
		if err := m.directory(ctx, dir, "0700"); err != nil {
			return err
		}
	}
	for _, f := range absent {
		if err := m.put(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// errNotEmpty says that somebody has made something of the machine since it was looked at.
func errNotEmpty(some []string) error {
	return hint.Wrap(errors.New("it is not empty any more: "+strings.Join(some, ", ")), "see who has made it a control plane; it was not touched")
}

// content is what a machine has of a control plane: an empty one has nothing.
func (m *machine) content(ctx context.Context) (some []string, err error) {
	for _, dir := range []string{manifestDir, m.data.now} {
		first, err := m.firstIn(ctx, dir)
		if err != nil {
			return nil, err
		}
		if first != "" {
			some = append(some, "there is "+first)
		}
	}
	return some, nil
}

// runningOf says which components of a control plane the machine runs, "" if none.
func (m *machine) runningOf(ctx context.Context) (string, error) {
	running, err := m.running(ctx)
	if err != nil {
		return "", err
	}
	some := slices.DeleteFunc(components(), func(c string) bool { return !running[c] })
	if len(some) == 0 {
		return "", nil
	}
	return "it runs " + strings.Join(some, ", "), nil
}

// directory makes a directory that is not there.
func (m *machine) directory(ctx context.Context, dir, mode string) error {
	there, err := m.exists(ctx, dir)
	if err != nil || there {
		return err
	}
	return m.do(ctx, "install", "--directory", "--mode="+mode, dir)
}

func (m *machine) put(ctx context.Context, f File) error {
	if err := m.directory(ctx, path.Dir(f.Path), "0755"); err != nil {
		return err
	}
	if f.Link != "" {
		return m.do(ctx, "ln", "--symbolic", "--no-target-directory", f.Link, f.Path)
	}
	return m.m.WriteFile(ctx, f.Path, f.Data, f.Mode)
}

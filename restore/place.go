// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
)

// bootstrapPhases are the whole of a restore onto an empty machine: it gets its files and its data directory, and is
// started. Nothing has to be stopped.
func (r *restoring) bootstrapPhases() []phase {
	all := r.restorePhases()
	skip := func(p phase) bool { return p.step == stepStopAPI || p.step == stepStopEtcd || p.step == stepKubelets }
	files := phase{step: stepFiles, words: "putting the files of the control plane on the machine", each: r.place}
	return append([]phase{files}, slices.DeleteFunc(all, skip)...)
}

// place puts the files on the machine while its kubelet is stopped. Each appears whole; one that is there is left
// alone if it is the same.
func (r *restoring) place(ctx context.Context, m *machine) error {
	files, err := readFiles(r.spec.Restore.Bootstrap)
	if err != nil {
		return err
	}
	if err := m.claim(ctx, r.spec.Run); err != nil {
		return err
	}
	if err := m.stopKubelet(ctx); err != nil {
		return err
	}
	for _, dir := range []string{manifestDir, m.data.now} {
		if err := m.directory(ctx, dir, "0700"); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := m.put(ctx, f); err != nil {
			return err
		}
	}
	return nil
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
	same, there, err := m.compareFile(ctx, f)
	if err != nil || same {
		return err
	}
	if there {
		return fmt.Errorf("%s is there since the run was begun, and other than in the set: see who has made it, and remove it", f.Path)
	}
	if err := m.directory(ctx, path.Dir(f.Path), "0755"); err != nil {
		return err
	}
	if f.Link != "" {
		return m.do(ctx, "ln", "--symbolic", "--no-target-directory", f.Link, f.Path)
	}
	return m.m.WriteFile(ctx, f.Path, f.Data, f.Mode)
}

// unplace takes back what place has put there, and nothing else: what is other than it was put there stays.
func (r *restoring) unplace(ctx context.Context, m *machine) error {
	files, err := readFiles(r.spec.Restore.Bootstrap)
	if err != nil {
		return err
	}
	if err := m.stopKubelet(ctx); err != nil {
		return err
	}
	slices.Reverse(files)
	for _, f := range files {
		same, _, err := m.compareFile(ctx, f)
		if err != nil {
			return err
		}
		if !same {
			continue
		}
		if err := m.do(ctx, "rm", "--force", "--", f.Path); err != nil {
			return err
		}
		if err := m.do(ctx, "rmdir", "--ignore-fail-on-non-empty", "--", path.Dir(f.Path)); err != nil {
			return err
		}
	}
	return nil
}

// undoBootstrap gives the machine back as empty as it was.
func (r *restoring) undoBootstrap() []phase {
	return []phase{
		{words: "taking the data directory back", each: func(ctx context.Context, m *machine) error {
			if err := m.data.giveBack(ctx); err != nil {
				return err
			}
			empty := path.Join(m.data.now, "member") // what was kept as the old content: nothing
			there, err := m.exists(ctx, empty)
			if err != nil || !there {
				return err
			}
			return m.do(ctx, "rmdir", "--", empty)
		}},
		{words: "taking the files of the control plane back", each: func(ctx context.Context, m *machine) error {
			return errors.Join(r.unplace(ctx, m), m.disclaim(ctx, r.spec.Run))
		}},
	}
}

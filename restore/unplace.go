// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"context"
	"path"
	"slices"
)

// undoBootstrap gives the machine back as empty as it was. What place puts there it puts there with a claim, and the
// claim goes last: a machine that another run has claimed has nothing of this one.
func (r *restoring) undoBootstrap() []phase {
	return []phase{
		{words: "taking the data directory back", each: func(ctx context.Context, m *machine) error {
			holder, err := m.claimed(ctx)
			if err != nil || holder != r.spec.Run {
				return err
			}
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
			holder, err := m.claimed(ctx)
			if err != nil || holder != "" && holder != r.spec.Run {
				return err
			}
			if holder == r.spec.Run {
				if err := r.unplace(ctx, m); err != nil {
					return err
				}
			}
			return r.unclaim(ctx, m)
		}},
	}
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
	}
	if r.spec.Restore.Bootstrap.KubeletRan {
		return m.resumeKubelet(ctx)
	}
	return nil
}

// unclaim takes the claim back, also one that was half made, and then the directories that the machine did not have.
func (r *restoring) unclaim(ctx context.Context, m *machine) error {
	there, err := m.exists(ctx, m.park)
	if err != nil {
		return err
	}
	if there {
		if err := m.do(ctx, "rm", "--force", "--", path.Join(m.park, "run."+r.spec.Run)); err != nil {
			return err
		}
		if err := m.disclaim(ctx, r.spec.Run); err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(r.spec.Restore.Bootstrap.Missing) {
		there, err := m.exists(ctx, dir)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := m.do(ctx, "rmdir", "--ignore-fail-on-non-empty", "--", dir); err != nil {
			return err
		}
	}
	return nil
}

// missing are the directories that files, and what else is put there, need and that the machine does not have, each
// before those in it.
func (m *machine) missing(ctx context.Context, files []File) (dirs []string, err error) {
	wanted := []string{manifestDir, m.data.now, m.park}
	for _, f := range files {
		wanted = append(wanted, path.Dir(f.Path))
	}
	known := map[string]bool{"/": true} // and is there
	for _, dir := range wanted {
		for p := dir; ; p = path.Dir(p) {
			if there, seen := known[p]; seen {
				if there {
					break
				}
				continue
			}
			there, err := m.exists(ctx, p)
			if err != nil {
				return nil, err
			}
			if known[p] = there; !there {
				dirs = append(dirs, p)
			}
		}
	}
	slices.Sort(dirs) // a directory is before what is in it
	return dirs, nil
}

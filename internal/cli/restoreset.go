// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/utils/clock"

	"refit.dev/refit/internal/aside"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
	"refit.dev/refit/vault"
)

// fetchedDir is where snapshots of sets are while they are restored, each in a directory of its own that
// begins with fetchedPrefix: whoever resumes a restore needs them, so that they must outlive a process.
const (
	fetchedDir    = "fetched"
	fetchedPrefix = "set-"
)

// fetched is a set that was fetched to be restored.
type fetched struct {
	file     string // the snapshot
	remove   func() error
	manifest *vault.Manifest
	files    []vault.File // of the machine, if they were asked for
}

// fetchedRoot is the directory with all that was fetched, which is made.
func fetchedRoot() (string, error) {
	within, err := statedir.Path(fetchedDir, fetchedPrefix)
	return filepath.Dir(within), err
}

// fetchForRestore fetches the snapshot of a set, and its files if they are wanted. What is wrong with it is told before
// anything is touched.
func (a *app) fetchForRestore(ctx context.Context, set string, f *readFlags, files bool) (_ *fetched, err error) {
	r, name, err := f.reader(ctx, set, "")
	if err != nil {
		return nil, err
	}
	defer r.Store.Close()
	blocked := func(err error) error {
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, vault.ErrDamaged), errors.Is(err, vault.ErrUntrusted):
			return exitWith(exitBlocked, hint.Wrap(err, "nothing was changed; take another set"))
		case errors.Is(err, vault.ErrFormat), errors.Is(err, vault.ErrNewer):
			return exitWith(exitBlocked, hint.Wrap(err, "nothing was changed; %s", hint.Of(err)))
		}
		return setError(ctx, err)
	}
	m, _, err := r.Store.Find(ctx, name, r.Trust)
	if err != nil {
		return nil, blocked(err)
	}
	a.say("fetching set " + m.Name + " of " + report.Printable(r.Store.Where().String()))
	dir, err := fetchedRoot()
	if err != nil {
		return nil, err
	}
	aside.Sweep(dir, fetchedPrefix, neededByRun)
	made, remove, err := aside.Kept(dir, fetchedPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory for the set: %w", err)
	}
	got := &fetched{file: filepath.Join(made, m.Name+".db"), remove: remove, manifest: m}
	if files {
		got.files, err = r.Files(ctx, m)
	}
	if err == nil {
		err = r.Snapshot(ctx, m, got.file)
	}
	if err != nil {
		return nil, blocked(errors.Join(err, remove()))
	}
	return got, nil
}

// release removes what was fetched once no run needs it; failed is why the restore has not come to its end, and begun whether it
// may have left a run that can be resumed.
func (a *app) release(set *fetched, begun bool, failed error) error {
	dir := filepath.Dir(set.file)
	if failed == nil || !begun || !neededByRun(dir) {
		return set.remove()
	}
	a.say("kept for refit runs resume, decrypted: " + report.Printable(dir))
	return nil
}

// releaseRestored removes what was fetched for a restore, unless that has ended badly once more: then whoever resumes or aborts
// it needs the file.
func releaseRestored(file string) error {
	if neededByRun(filepath.Dir(file)) {
		return nil
	}
	return removeFetched(file)
}

// neededByRun tells whether a run that is not finished restores what is in a directory. Where that
// cannot be told it may be so.
func neededByRun(dir string) bool {
	store, err := run.DefaultStore(clock.RealClock{})
	if err != nil {
		return true
	}
	runs, err := store.List()
	if err != nil {
		return true
	}
	for _, r := range runs {
		if r.Err != nil {
			return true
		}
		if restored := r.Status.Spec.Restore; restored != nil && !r.Status.Closed() && filepath.Dir(restored.File) == dir {
			return true
		}
	}
	return false
}

// removeFetched removes what fetchForRestore has fetched, and no file of the user's.
func removeFetched(file string) error {
	dir, err := fetchedRoot()
	if err != nil {
		return err
	}
	within, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(within) || within == "." {
		return nil //nolint:nilerr // it is somewhere else
	}
	own, _, _ := strings.Cut(within, string(filepath.Separator))
	if err := os.RemoveAll(filepath.Join(dir, own)); err != nil {
		return fmt.Errorf("remove the snapshot that was fetched, with all the Secrets in it: %w", err)
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/report"
	"refit.dev/refit/vault"
)

// fetchedDir is where snapshots of sets are while they are restored: whoever resumes a
// restore needs them, so that they must outlive a process.
const fetchedDir = "fetched"

// fetchForRestore fetches the snapshot of a set. What is wrong with it is told before
// anything is touched.
func (a *app) fetchForRestore(ctx context.Context, set string, f *readFlags) (string, error) {
	r, name, err := f.reader(ctx, set, "")
	if err != nil {
		return "", err
	}
	defer r.Store.Close()
	blocked := func(err error) error {
		if ctx.Err() == nil && (errors.Is(err, vault.ErrDamaged) || errors.Is(err, vault.ErrUntrusted)) {
			return exitWith(exitBlocked, hint.Wrap(err, "nothing was changed; take another set"))
		}
		return setError(ctx, err)
	}
	m, _, err := r.Store.Find(ctx, name, r.Trust)
	if err != nil {
		return "", blocked(err)
	}
	a.say("fetching set " + m.Name + " of " + report.Printable(r.Store.Where().String()))
	file, err := statedir.Path(fetchedDir, m.Name+"-"+rand.Text()[:8]+".db")
	if err != nil {
		return "", err
	}
	return file, blocked(r.Snapshot(ctx, m, file))
}

// removeFetched removes what fetchForRestore has fetched, and no file of the user's.
func removeFetched(file string) error {
	dir, err := statedir.Path(fetchedDir)
	if err != nil || filepath.Dir(file) != dir {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the snapshot that was fetched, with all the Secrets in it: %w", err)
	}
	return nil
}

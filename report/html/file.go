// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/run"
)

// Load reads what there is about a run, which may be at work; now is where it
// ends in that case. The error is a *run.UnknownRunError if there is no such run.
func Load(store *run.Store, id string, now time.Time) (*Run, error) {
	status, err := store.Read(id)
	if err != nil {
		return nil, err
	}
	records, err := store.Records(id)
	if err != nil {
		return nil, err
	}
	planned, planErr := store.Plan(id)
	r := New(status, records, PlannedBy(planned), now)
	if planErr != nil {
		r.missing = append(r.missing, fmt.Sprintf("What was planned is missing here: %v.", planErr))
	}
	r.skipped, err = store.History(id, r.Add)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// WriteFile writes the page of r to a file, which appears complete or not at
// all. It is for its user alone: the command of a run may hold secrets.
func WriteFile(path string, r *Run) (err error) {
	fail := func(err error) error {
		return hint.Wrap(fmt.Errorf("write the report: %w", err), "name another file with --out")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".refit-report-*") // mode 0600
	if err != nil {
		return fail(err)
	}
	err = errors.Join(Write(f, r), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

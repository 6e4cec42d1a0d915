// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package html

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	made, planErr := store.Plan(id)
	planned := PlannedBy(made)
	if status.Spec.Upgrade != nil { // the plan of its drains knows nothing of stages
		planned, planErr = PlannedUpgrade(status.Spec.Upgrade), nil
	}
	r := New(status, records, planned, now)
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
func WriteFile(path string, r *Run) error {
	f, err := temporary(path)
	if err == nil {
		if err = errors.Join(Write(f, r), f.Close()); err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Writable tells whether WriteFile could write that file now, for who will only
// have a report to write after hours. The error is as that of WriteFile.
func Writable(path string) error {
	f, err := temporary(path)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// temporary is a file beside path, which may be renamed to that.
func temporary(path string) (*os.File, error) {
	switch info, err := os.Stat(path); {
	case err != nil: // it is not there, as a rule
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular(): // to rename a file to /dev/null would end that
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.CreateTemp(filepath.Dir(path), ".refit-report-*") // mode 0600
}

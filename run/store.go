// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/statedir"
)

// Store is the directory with the journals of all runs of one operator.
type Store struct {
	dir   string
	clock clock.PassiveClock
	// wrap gets between a Journal and its file; nil leaves it alone.
	wrap func(file) file
}

// DefaultStore is $state/runs (see package statedir).
func DefaultStore(clk clock.PassiveClock) (*Store, error) {
	dir, err := statedir.Path("runs")
	if err != nil {
		return nil, hint.Wrap(err, "set %s to a directory that can be written; nothing was changed", statedir.Env)
	}
	return NewStore(dir, clk), nil
}

// NewStore returns the Store in dir, which need not exist.
func NewStore(dir string, clk clock.PassiveClock) *Store { return &Store{dir: dir, clock: clk} }

// Dir is the directory of a run, for what has to be on this machine until it is finished.
func (s *Store) Dir(run string) string { return filepath.Join(s.dir, run) }

// planeLock is the lock that all runs of a cluster share, for commands that raise its control plane. Its
// name is made of what others have named.
func (s *Store) planeLock(id Identity) string {
	sum := sha256.Sum256([]byte(cmp.Or(string(id.UID), id.Server)))
	return filepath.Join(s.dir, "control-planes", hex.EncodeToString(sum[:8])+".lock")
}

// UnknownRunError says that there is no run of that id in the store; with no
// id, that there is none of the kind that was asked for.
type UnknownRunError struct{ Run, Dir string }

func (e *UnknownRunError) Error() string {
	if e.Run == "" {
		return "there is no such run in " + e.Dir
	}
	return fmt.Sprintf("there is no run %q in %s", e.Run, e.Dir)
}

// Entry is one run of a list. Err is set, and Status nil, for a run whose
// journal cannot be read.
type Entry struct {
	Run    string
	Status *Status
	Err    error
}

// List returns all runs, the oldest first: ids sort by time, and ReadDir sorts by name.
func (s *Store) List() ([]Entry, error) {
	dirs, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var entries []Entry
	for _, d := range dirs {
		if !d.IsDir() || !idPattern.MatchString(d.Name()) {
			continue // not refit's
		}
		if _, err := os.Lstat(filepath.Join(s.dir, d.Name(), journalName)); errors.Is(err, fs.ErrNotExist) {
			continue // its process was killed before the first record: nothing was begun
		}
		status, err := s.read(d.Name()) // in a list nobody counts evictions
		entries = append(entries, Entry{Run: d.Name(), Status: status, Err: err})
	}
	return entries, nil
}

// Read returns where a run stands. It takes nothing: the run may be at work.
func (s *Store) Read(run string) (*Status, error) {
	status, err := s.read(run)
	if err != nil {
		return nil, err
	}
	s.recall(run, status)
	return status, nil
}

// recall adds the evictions of drains that did not come to their end, of which the
// journal does not tell: those of a process that was interrupted, or killed. A history
// that cannot be read is as good as none.
func (s *Store) recall(run string, status *Status) {
	evicted := map[string]int{}
	_, _ = s.History(run, func(e event.Event) {
		if e.Type == event.PodEvicted {
			evicted[e.Node]++
		}
	})
	for name, n := range status.Nodes {
		n.Evicted = max(n.Evicted, evicted[name])
	}
}

// read is Read by the journal alone.
func (s *Store) read(run string) (*Status, error) {
	dir, err := s.path(run)
	if err != nil {
		return nil, err
	}
	// Asked before the journal is read: a process that ends in between has then
	// written how.
	alive, err := held(dir)
	if err != nil {
		return nil, fmt.Errorf("run %s: look at its journal: %w", run, err)
	}
	records, err := readJournal(dir)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	status := statusOf(records)
	if alive && !status.Closed() && status.Phase != PhaseStopped {
		status.Phase = PhaseRunning
	}
	return status, nil
}

// Newest returns the run that was begun last.
func (s *Store) Newest() (string, error) {
	entries, err := s.List()
	if err != nil {
		return "", err
	}
	if len(entries) == 0 {
		return "", hint.Wrap(&UnknownRunError{Dir: s.dir}, "there were no runs yet on this machine")
	}
	return entries[len(entries)-1].Run, nil
}

// OnlyUnfinished returns the one run that can be resumed or aborted, for a
// command line that names none.
func (s *Store) OnlyUnfinished() (string, error) {
	entries, err := s.List()
	if err != nil {
		return "", err
	}
	var open []string
	for _, e := range entries {
		if e.Err != nil || !e.Status.Closed() {
			open = append(open, e.Run)
		}
	}
	switch len(open) {
	case 0:
		return "", hint.Wrap(badInput("no run is unfinished"), "refit runs list shows all runs")
	case 1:
		return open[0], nil
	}
	return "", hint.Wrap(badInput("%d runs are unfinished: %s", len(open), few(open)), "name one; refit runs list shows them all")
}

// path returns the directory of a run that exists.
func (s *Store) path(run string) (string, error) {
	unknown := hint.Wrap(&UnknownRunError{Run: run, Dir: s.dir}, "refit runs list shows the runs")
	if !idPattern.MatchString(run) { // and so never a path to somewhere else
		return "", unknown
	}
	dir := filepath.Join(s.dir, run)
	journal := filepath.Join(dir, journalName)
	info, err := os.Stat(journal)
	if errors.Is(err, fs.ErrNotExist) {
		return "", unknown
	}
	if err == nil && !info.Mode().IsRegular() { // to open a pipe would be to wait for ever
		err = hint.Wrap(fmt.Errorf("%s is not a file", journal), "it is not refit's: remove it")
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w", run, err)
	}
	return dir, nil
}

// create makes the journal of a new run.
func (s *Store) create(ctx context.Context, spec *Spec) (*Journal, error) {
	return createJournal(ctx, filepath.Join(s.dir, spec.Run), spec, s.clock, s.wrap)
}

// remove takes away a run that was created and never begun.
func (s *Store) remove(run string) error { return os.RemoveAll(filepath.Join(s.dir, run)) }

// HeldError says that a living process works on the run.
type HeldError struct {
	Run     string
	Process Process
}

func (e *HeldError) Error() string {
	text := fmt.Sprintf("run %s: another process is working on it", e.Run)
	if e.Process.PID != 0 {
		text += fmt.Sprintf(" (process %d on %s)", e.Process.PID, e.Process.Host)
	}
	return text
}

// open takes a run up. torn is how many bytes of an incomplete last record were cut off.
func (s *Store) open(ctx context.Context, run string) (j *Journal, status *Status, torn int, err error) {
	dir, err := s.path(run)
	if err != nil {
		return nil, nil, 0, err
	}
	j, records, torn, err := openJournal(ctx, dir, s.clock, s.wrap)
	if errors.Is(err, errHeld) {
		e := &HeldError{Run: run}
		if status, err := s.read(run); err == nil {
			e.Process = status.Process
		}
		return nil, nil, 0, hint.Wrap(e, "wait for it to end, or end it; refit runs show %s tells what it is doing", run)
	}
	if err != nil {
		return nil, nil, 0, fmt.Errorf("run %s: %w", run, err)
	}
	status = statusOf(records)
	s.recall(run, status)
	return j, status, torn, nil
}

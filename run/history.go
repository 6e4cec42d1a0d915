// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"refit.dev/refit/event"
)

const historyName = "history.ndjson"

// history is a Sink that keeps what happened in a run for its report, one event
// a line, beside the journal. Nothing depends on it: it is not synced, what a
// crash tears off is lost, and if it cannot be written the run goes on without.
type history struct {
	failed func(error) // is told of the first error, and of no other

	mu   sync.Mutex
	file *os.File // nil once it cannot be written
}

// openHistory appends to the history in dir. Each event is one write, so that
// whoever reads finds whole lines, whenever that is.
func openHistory(dir string, failed func(error)) *history {
	h := &history{failed: failed}
	f, err := os.OpenFile(filepath.Join(dir, historyName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		failed(err)
		return h
	}
	// What a killed process left half written must not run into the next line.
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		_, err = f.Write([]byte{'\n'})
		if err != nil {
			failed(errors.Join(err, f.Close()))
			return h
		}
	}
	h.file = f
	return h
}

// remembered tells whether an event belongs into a history: the output of
// commands does not, because there may be much of it and secrets in it, and
// neither do the pods that stay as a matter of course.
func remembered(t event.Type) bool { return t != event.CommandOutput && t != event.PodSkipped }

// Emit appends an event.
func (h *history) Emit(e event.Event) {
	if !remembered(e.Type) {
		return
	}
	e.Run = "" // all are of this run
	line, err := json.Marshal(e)
	h.mu.Lock()
	if h.file == nil {
		h.mu.Unlock()
		return
	}
	if err == nil {
		_, err = h.file.Write(append(line, '\n'))
	}
	if err != nil {
		err = errors.Join(err, h.file.Close())
		h.file = nil
	}
	h.mu.Unlock()
	if err != nil {
		h.failed(err) // not under the lock: it may well emit
	}
}

// Close ends the history.
func (h *history) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		_ = h.file.Close()
		h.file = nil
	}
}

// History calls each for every event that a run's history holds, the oldest
// first; skipped is how many lines could not be read, such as one that a killed
// process left half written. A run without a history has no events: it was begun
// by an older version, or its disk was full. The run may be at work.
func (s *Store) History(run string, each func(event.Event)) (skipped int, err error) {
	dir, err := s.path(run)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(dir, historyName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("run %s: read its history: %w", run, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var e event.Event
			if json.Unmarshal(line, &e) == nil && e.Type != "" {
				each(e)
			} else {
				skipped++
			}
		}
		if errors.Is(err, io.EOF) {
			return skipped, nil
		}
		if err != nil {
			return skipped, fmt.Errorf("run %s: read its history: %w", run, err)
		}
	}
}

// Records returns the journal of a run, record by record. The run may be at work.
func (s *Store) Records(run string) ([]Record, error) {
	dir, err := s.path(run)
	if err != nil {
		return nil, err
	}
	records, err := readJournal(dir)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run, err)
	}
	return records, nil
}

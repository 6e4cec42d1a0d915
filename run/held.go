// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
)

// Held is a run that this process works on, for kinds of work that Operator does not do.
type Held struct {
	journal *Journal
	clock   clock.PassiveClock

	mu     sync.Mutex
	status *Status
}

// Begin makes a new run. Nothing was recorded after an error, which is an *InputError if
// the Spec is what is wrong.
func (s *Store) Begin(ctx context.Context, spec *Spec) (*Held, error) {
	if err := spec.validate(); err != nil {
		return nil, &InputError{err}
	}
	journal, err := s.create(ctx, spec)
	if err != nil {
		return nil, err
	}
	h := &Held{journal: journal, clock: s.clock, status: statusOf([]Record{{Kind: KindCreated, Time: s.clock.Now(), Spec: spec}})}
	if err := h.open(); err != nil {
		return nil, errors.Join(err, journal.Close(), s.remove(spec.Run))
	}
	return h, nil
}

// Take takes a run up that is not closed, or takes none: then the error is nil as well,
// and the Status says why.
func (s *Store) Take(ctx context.Context, run string) (*Held, *Status, error) {
	journal, status, _, err := s.open(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	if status.Closed() {
		return nil, status, journal.Close()
	}
	h := &Held{journal: journal, clock: s.clock, status: status}
	if err := h.open(); err != nil {
		return nil, nil, errors.Join(err, journal.Close())
	}
	return h, status, nil
}

func (h *Held) open() error {
	machine, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this machine's name: %w", err)
	}
	if err := h.Record(Record{Kind: KindOpened, Process: &Process{PID: os.Getpid(), Host: machine}}); err != nil {
		return hint.Wrap(err, "make room for the journal; nothing was changed")
	}
	return nil
}

// Record puts r on disk. After an error what r announces must not be done.
func (h *Held) Record(r Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.journal.Append(r); err != nil {
		return err
	}
	r.Time = h.clock.Now().UTC()
	h.status.add(r)
	return nil
}

// StageState is where a step of a stage stands; "" before its first record.
func (h *Held) StageState(stage int, step Step) State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status.Stages[stage][step]
}

// Status is where the run stands. It must not be read while something is recorded.
func (h *Held) Status() *Status { return h.status }

// Close lets go of the run.
func (h *Held) Close() error { return h.journal.Close() }

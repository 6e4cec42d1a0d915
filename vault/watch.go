// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"refit.dev/refit/internal/hint"
)

// watched gives a context that ends when the store shows no sign of life for as long as its
// patience: alive tells of one. done has to be called in the end, and may be called twice.
func (s *Store) watched(ctx context.Context) (_ context.Context, alive, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := s.clock.NewTimer(s.patience)
	var lock sync.Mutex
	last := s.clock.Now()
	go func() {
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C():
			}
			lock.Lock()
			silent := s.clock.Since(last)
			lock.Unlock()
			if silent >= s.patience {
				cancel(hint.Wrap(&stalledError{s.patience}, "see whether the store answers; --stall-timeout waits longer"))
				return
			}
			timer.Reset(s.patience - silent)
		}
	}()
	alive = func() {
		lock.Lock()
		defer lock.Unlock()
		last = s.clock.Now()
	}
	return ctx, alive, func() { cancel(nil) }
}

type stalledError struct{ after time.Duration }

func (e *stalledError) Error() string {
	return fmt.Sprintf("the store gave no sign of life for %s", e.after)
}

// lively tells of what is read.
type lively struct {
	io.Reader
	alive func()
}

func (l *lively) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.alive()
	return n, err
}

// meter counts and hashes what is written, and tells of it.
type meter struct {
	to    io.Writer
	alive func()
	bytes int64
	hash  hash.Hash
}

func newMeter(to io.Writer, alive func()) *meter {
	return &meter{to: to, alive: alive, hash: sha256.New()}
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.alive()
	m.bytes += int64(n)
	m.hash.Write(p[:n])
	return n, err
}

func (m *meter) hex() string { return hex.EncodeToString(m.hash.Sum(nil)) }

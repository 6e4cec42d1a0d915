// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"refit.dev/refit/internal/hint"
)

// watched gives a context that ends when the store shows no sign of life for as long as its
// patience: alive tells of one, and its error says why the context has ended, if it has. Whoever does long work between
// what he asks of the store has to call it, too. done has to be called in the end, and may be called twice.
func (s *Store) watched(ctx context.Context) (_ context.Context, alive func() error, done func()) {
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
	alive = func() error {
		lock.Lock()
		defer lock.Unlock()
		last = s.clock.Now()
		return context.Cause(ctx)
	}
	return ctx, alive, func() { cancel(nil) }
}

type stalledError struct{ after time.Duration }

func (e *stalledError) Error() string {
	return fmt.Sprintf("the store gave no sign of life for %s", e.after)
}

// lively tells of what is read, and ends when alive says so.
type lively struct {
	io.Reader
	alive func() error
}

func (l *lively) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if ended := l.alive(); ended != nil && (err == nil || errors.Is(err, io.EOF)) {
		err = ended
	}
	return n, err
}

// busy does the same with what is written: out of few bytes of a store there may become many.
type busy struct {
	io.Writer
	alive func() error
}

func (b *busy) Write(p []byte) (int, error) {
	n, err := b.Writer.Write(p)
	if ended := b.alive(); ended != nil && err == nil {
		err = ended
	}
	return n, err
}

// meter counts and hashes what is written.
type meter struct {
	to    io.Writer
	bytes int64
	hash  hash.Hash
}

func newMeter(to io.Writer) *meter {
	return &meter{to: to, hash: sha256.New()}
}

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.bytes += int64(n)
	m.hash.Write(p[:n])
	return n, err
}

func (m *meter) hex() string { return hex.EncodeToString(m.hash.Sum(nil)) }

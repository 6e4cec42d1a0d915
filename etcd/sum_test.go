// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"refit.dev/refit/internal/hint"
)

// TestSum hashes all but the last 32 bytes, in whatever pieces they come.
func TestSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 100)).Draw(t, "pieces")
		s := newSum()
		for _, p := range pieces {
			b := s.buffer()
			s.add(b[:copy(b, p)])
		}
		got, said := s.sums()
		all := bytes.Join(pieces, nil)
		end := max(0, len(all)-sha256.Size)
		if got != sha256.Sum256(all[:end]) || !bytes.HasPrefix(said[:], all[end:]) {
			t.Errorf("wrong for %d bytes", len(all))
		}
	})
}

// fullDisk takes so many bytes.
type fullDisk struct{ room int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return f.room, unix.ENOSPC
	}
	f.room -= len(p)
	return len(p), nil
}

func TestCopyFails(t *testing.T) {
	s := newSum()
	defer s.stop()
	_, err := Saver{}.copy(&fullDisk{room: 3 * chunk}, io.LimitReader(zeros{}, 5*chunk), 0, s)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(hint.Of(err), "the disk is full") {
		t.Errorf("a full disk: %v, hint %q", err, hint.Of(err))
	}
	broken := io.MultiReader(io.LimitReader(zeros{}, 3*chunk+5), iotest.ErrReader(errors.New("gone")))
	if n, err := (Saver{}).copy(io.Discard, broken, 0, s); err == nil || !strings.Contains(err.Error(), "read the stream: gone") || n != 3*chunk+5 {
		t.Errorf("a stream that breaks off: %d, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

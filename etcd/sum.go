// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"crypto/sha256"
	"hash"
)

// sum hashes all but the last 32 bytes of what it gets, on a goroutine of its own.
type sum struct {
	hash   hash.Hash
	last   []byte // the last 32 bytes, or fewer, which are not hashed yet
	full   chan []byte
	empty  chan []byte
	hashed chan struct{}
	ended  bool
}

// buffers is how many chunks there are: one is filled while others are hashed.
const buffers = 4

func newSum() *sum {
	s := &sum{hash: sha256.New(), full: make(chan []byte, buffers), empty: make(chan []byte, buffers), hashed: make(chan struct{})}
	for range buffers {
		s.empty <- make([]byte, chunk)
	}
	go func() {
		defer close(s.hashed)
		for b := range s.full {
			s.write(b)
			s.empty <- b[:chunk]
		}
	}()
	return s
}

// buffer is a chunk to fill. Once it is given to add, it belongs to the sum again.
func (s *sum) buffer() []byte { return <-s.empty }

func (s *sum) add(b []byte) { s.full <- b }

func (s *sum) write(b []byte) {
	if len(b) >= sha256.Size {
		s.hash.Write(s.last)
		s.hash.Write(b[:len(b)-sha256.Size])
		s.last = append(s.last[:0], b[len(b)-sha256.Size:]...)
		return
	}
	s.last = append(s.last, b...)
	if over := len(s.last) - sha256.Size; over > 0 {
		s.hash.Write(s.last[:over])
		s.last = append(s.last[:0], s.last[over:]...)
	}
}

// stop waits until everything is hashed. It may be called twice.
func (s *sum) stop() {
	if !s.ended {
		s.ended = true
		close(s.full)
	}
	<-s.hashed
}

// sums are what was computed and what stood at the end.
func (s *sum) sums() (got, said [sha256.Size]byte) {
	s.stop()
	copy(got[:], s.hash.Sum(nil))
	copy(said[:], s.last)
	return got, said
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// headOf begins a delta.
func headOf(magic string, size, baseSize int) []byte {
	head := binary.BigEndian.AppendUint64([]byte(magic), uint64(size)) //nolint:gosec // not below 0
	return binary.BigEndian.AppendUint64(head, uint64(baseSize))       //nolint:gosec // not below 0
}

// TestOtherFormats: what another version wrote is not called damaged, and what nobody wrote is.
func TestOtherFormats(t *testing.T) {
	for begin, want := range map[string]error{
		"refit-pages/1\n": ErrFormat, "refit-pages/3\n": ErrFormat, "refit-pages/10\n": ErrFormat,
		"refit-pages/\n": ErrCorrupt, "refit-pages/02\n": ErrCorrupt, "refit-pages/2\t": ErrCorrupt, "refit-pages/-1\n": ErrCorrupt, "refit-page\x00\x00\x00\x00": ErrCorrupt,
	} {
		_, err := apply([]byte("base"), 4, append(headOf(begin, 4, 4), 8, 0, 0))
		if !errors.Is(err, want) || errors.Is(err, ErrCorrupt) && errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, want %v", begin, err, want)
		}
	}
	if err := new(Index).UnmarshalBinary(headOf("refit-index/1\n", 0, 0)[:len(indexMagic)+8]); !errors.Is(err, ErrFormat) {
		t.Errorf("an index of another format: %v", err)
	}
	if got, err := apply([]byte("base"), 4, append(headOf(magic, 4, 4), 8, 0, 0)); err != nil || string(got) != "base" {
		t.Errorf("the same in this format: %q, %v", got, err)
	}
}

// calls counts them.
type calls struct {
	io.Writer
	n int
}

func (c *calls) Write(p []byte) (int, error) {
	c.n++
	return c.Writer.Write(p)
}

// TestSmallestParts is about a delta of parts of one byte each: they are not written, nor is memory taken, one by one.
func TestSmallestParts(t *testing.T) {
	const size = 4 * buffer
	base := []byte("0123456789")
	delta, want := headOf(magic, size, len(base)), make([]byte, 0, size)
	for at := range int64(size) {
		from := at % int64(len(base))
		delta = binary.AppendVarint(append(delta, 2), from-at)
		want = append(want, base[from])
	}
	delta = append(delta, 0)
	got := bytes.NewBuffer(make([]byte, 0, size))
	w := &calls{Writer: got}
	taken := testing.AllocsPerRun(1, func() {
		got.Reset()
		if err := Apply(w, size, bytes.NewReader(base), int64(len(base)), bytes.NewReader(delta)); err != nil {
			t.Fatal(err)
		}
	})
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("something else comes back")
	}
	if w.n > 2*(size/buffer+1) || taken > 100 { // it runs twice
		t.Errorf("%d bytes are written in %d parts, and memory is taken %.0f times", size, w.n, taken)
	}
}

// TestShortBase is about a base that has less than it should: that is an error, and no shorter file. The delta is all right.
func TestShortBase(t *testing.T) {
	before := bytes.Repeat([]byte{1}, 5*Size)
	delta := deltaOf(t, before, append(bytes.Clone(before), 2))
	for _, n := range []int{0, 1, 4*Size + 17} {
		err := Apply(io.Discard, 5*Size+1, bytes.NewReader(before[:n]), 5*Size, bytes.NewReader(delta))
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "the base") {
			t.Errorf("of %d bytes: %v", n, err)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// files are two versions of a file: pages are changed, added and cut off.
func files(t *rapid.T) (before, after []byte) {
	page := func(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, Size/2) }
	for i := range rapid.SampledFrom([]int{0, 1, 2, 40, 300, 600}).Draw(t, "pages") {
		before = append(before, page(i)...)
	}
	after = bytes.Clone(before)
	for range rapid.IntRange(0, 20).Draw(t, "changes") {
		if len(after) == 0 {
			break
		}
		after[rapid.IntRange(0, len(after)-1).Draw(t, "at")] ^= 1
	}
	switch rapid.IntRange(0, 2).Draw(t, "length") {
	case 0:
		after = append(after, rapid.SliceOfN(rapid.Byte(), 0, 3*Size).Draw(t, "more")...)
	case 1:
		after = after[:rapid.IntRange(0, len(after)).Draw(t, "cut")]
	}
	return append(before, rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "tail")...), after
}

func deltaOf(t interface{ Fatal(...any) }, before, after []byte) []byte {
	x, err := NewIndex(bytes.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	text, err := x.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	y := &Index{}
	if err := y.UnmarshalBinary(text); err != nil {
		t.Fatal(err)
	}
	var delta bytes.Buffer
	if err := Write(&delta, bytes.NewReader(after), int64(len(after)), y); err != nil {
		t.Fatal(err)
	}
	return delta.Bytes()
}

func apply(before []byte, size int, delta []byte) ([]byte, error) {
	var got bytes.Buffer
	err := Apply(&got, int64(size), bytes.NewReader(before), int64(len(before)), bytes.NewReader(delta))
	return got.Bytes(), err
}

// TestAnyFileComesBack holds the two ways against each other, and the size of the delta
// against the pages that differ.
func TestAnyFileComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := files(t)
		delta := deltaOf(t, before, after)
		got, err := apply(before, len(after), delta)
		if err != nil || !bytes.Equal(got, after) {
			t.Fatalf("%d bytes of %d come back: %v", len(got), len(after), err)
		}
		differ := 0
		for at := 0; at < len(after); at += Size {
			page := after[at:min(at+Size, len(after))]
			if at >= len(before) || !bytes.Equal(page, before[at:min(at+Size, len(before))]) {
				differ += len(page)
			}
		}
		x, err := NewIndex(bytes.NewReader(before))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := Changed(bytes.NewReader(after), x); err != nil || n != int64(differ) {
			t.Fatalf("%d bytes have changed, want %d (%v)", n, differ, err)
		}
		if over := len(delta) - differ; over < 0 || over > 64+16*(differ/Size+1) {
			t.Fatalf("a delta of %d bytes for %d that differ", len(delta), differ)
		}
	})
}

// TestDamagedDeltas cuts and changes a delta everywhere: what comes out is an error or another file, never a panic.
func TestDamagedDeltas(t *testing.T) {
	before := bytes.Repeat([]byte("0123456789abcdef"), 5*Size/16)
	after := bytes.Clone(before)
	after[0], after[3*Size] = 'x', 'x'
	delta := deltaOf(t, before, after)
	for n := 0; n < len(delta); n += 1 + n%13 {
		if _, err := apply(before, len(after), delta[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		damaged := bytes.Clone(delta)
		damaged[n] ^= 0x81
		if got, err := apply(before, len(after), damaged); err == nil && bytes.Equal(got, after) {
			t.Fatalf("byte %d does not matter", n)
		}
	}
	if _, err := apply(before, len(after), append(delta, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with more at the end: %v", err)
	}
	if _, err := apply(before[1:], len(after), delta); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another base: %v", err)
	}
	for _, index := range []string{"", "refit-index/1\n", "refit-index/1\n\xff\xff\xff\xff\xff\xff\xff\xff", "refit-index/1\n\x00\x00\x00\x00\x00\x00\x00\x01short"} {
		if err := new(Index).UnmarshalBinary([]byte(index)); err == nil {
			t.Errorf("index %q is taken", index)
		}
	}
}

func FuzzApply(f *testing.F) {
	before := bytes.Repeat([]byte{1}, 3*Size)
	f.Add(deltaOf(f, before, append(bytes.Clone(before[:Size]), 2, 3)), 9)
	f.Fuzz(func(t *testing.T, delta []byte, size int) {
		got, err := apply(before, size, delta)
		if err == nil && len(got) != size {
			t.Fatalf("%d bytes, want %d", len(got), size)
		}
	})
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// hashSize is how much is kept of a page's SHA-256: two pages out of 2^32 have the same by
// chance with a probability below 2^-64, and the SHA-256 of the whole file tells in the end.
const hashSize = 16

// Index has the hash of each page of a file.
type Index struct {
	size   int64
	hashes []byte
}

// NewIndex reads a file to its end.
func NewIndex(r io.Reader) (*Index, error) {
	x := &Index{}
	err := each(r, func(_ int64, page []byte) error {
		x.add(page)
		return nil
	})
	return x, err
}

func (x *Index) add(page []byte) {
	x.size += int64(len(page))
	x.hashes = append(x.hashes, hashOf(page)...)
}

// Indexer makes the index of what is written to it.
type Indexer struct {
	index Index
	begun []byte // of a page
}

// Write takes the next bytes of the file. It never fails.
func (x *Indexer) Write(p []byte) (int, error) {
	n := len(p)
	if len(x.begun) > 0 {
		take := min(Size-len(x.begun), len(p))
		x.begun, p = append(x.begun, p[:take]...), p[take:]
		if len(x.begun) < Size {
			return n, nil
		}
		x.index.add(x.begun)
		x.begun = x.begun[:0]
	}
	for ; len(p) >= Size; p = p[Size:] {
		x.index.add(p[:Size])
	}
	x.begun = append(x.begun, p...)
	return n, nil
}

// Index is that of all that was written. Nothing may be written afterwards.
func (x *Indexer) Index() *Index {
	if len(x.begun) > 0 {
		x.index.add(x.begun)
		x.begun = nil
	}
	return &x.index
}

// Bytes is the size of the file.
func (x *Index) Bytes() int64 { return x.size }

// same tells whether page number n has that content.
func (x *Index) same(n int64, page []byte) bool {
	at := n * hashSize
	return at < int64(len(x.hashes)) && bytes.Equal(x.hashes[at:at+hashSize], hashOf(page))
}

func hashOf(page []byte) []byte {
	sum := sha256.Sum256(page)
	return sum[:hashSize]
}

const indexMagic = "refit-index/1\n"

// MarshalBinary is the index as bytes.
func (x *Index) MarshalBinary() ([]byte, error) {
	out := binary.BigEndian.AppendUint64([]byte(indexMagic), uint64(x.size)) //nolint:gosec // no size is below 0
	return append(out, x.hashes...), nil
}

// UnmarshalBinary reads what MarshalBinary made.
func (x *Index) UnmarshalBinary(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(indexMagic))
	if !ok || len(rest) < 8 {
		return errors.New("it is no index of pages")
	}
	size := int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // looked at below
	hashes := rest[8:]
	if size < 0 || count(size) != int64(len(hashes)/hashSize) || len(hashes)%hashSize != 0 {
		return fmt.Errorf("the index has %d bytes of hashes for a file of %d bytes", len(hashes), size)
	}
	x.size, x.hashes = size, bytes.Clone(hashes)
	return nil
}

// count is how many pages a file of so many bytes has.
func count(size int64) int64 {
	n := size / Size
	if size%Size > 0 {
		n++
	}
	return n
}

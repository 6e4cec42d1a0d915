// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// hashSize is how much is kept of a SHA-256: among 2^32 pieces two have the same by
// chance with a probability below 2^-64, and the SHA-256 of the whole file tells in the end.
const hashSize = 16

// piece is what is kept of one: its hash, and where it is (8 bytes, big-endian). A database of small values has many.
type piece [hashSize + 8]byte

// shortest is how long a piece is at least that is worth looking for: shorter ones take as much in the
// index as they save.
const shortest = 128

type hash [hashSize]byte

func hashOf(b []byte) hash {
	sum := sha256.Sum256(b)
	return hash(sum[:])
}

func pieceOf(b []byte, at int64) (p piece) {
	h := hashOf(b)
	binary.BigEndian.PutUint64(p[copy(p[:], h[:]):], uint64(at)) //nolint:gosec // no place is below 0
	return p
}

func (p piece) hash() hash { return hash(p[:]) }

// at is where the piece is, below 0 if it is nowhere.
func (p piece) at() int64 { return int64(binary.BigEndian.Uint64(p[hashSize:])) } //nolint:gosec // looked at by who asks

// Index has the hashes of a file's pages and pieces.
type Index struct {
	size   int64
	pages  []hash
	pieces []piece // sorted by hash
}

// Indexer makes the index of what is written to it.
type Indexer struct {
	leaves leaves
	index  Index
}

// NewIndexer has nothing yet.
func NewIndexer() *Indexer {
	x := &Indexer{}
	x.leaves.do = x.leaf
	return x
}

// Write takes the next bytes of the file. It never fails.
func (x *Indexer) Write(p []byte) (int, error) { return x.leaves.Write(p) }

func (x *Indexer) leaf(at int64, leaf []byte) error {
	for page := range slices.Chunk(leaf, Size) {
		x.index.pages = append(x.index.pages, hashOf(page))
	}
	cut(leaf, func(from, to int) {
		if to-from >= shortest {
			x.index.pieces = append(x.index.pieces, pieceOf(leaf[from:to], at+int64(from)))
		}
	})
	x.index.size = at + int64(len(leaf))
	return nil
}

// Index is that of all that was written. Nothing may be written afterwards.
func (x *Indexer) Index() *Index {
	_ = x.leaves.Close()                                                                       // leaf never fails
	slices.SortFunc(x.index.pieces, func(a, b piece) int { return bytes.Compare(a[:], b[:]) }) // of the same hash, the first comes first
	x.index.pieces = slices.CompactFunc(x.index.pieces, func(a, b piece) bool { return a.hash() == b.hash() })
	return &x.index
}

// Bytes is the size of the file.
func (x *Index) Bytes() int64 { return x.size }

// same tells whether page number n has that content.
func (x *Index) same(n int64, page []byte) bool {
	return n < int64(len(x.pages)) && x.pages[n] == hashOf(page)
}

// find tells where a piece is.
func (x *Index) find(bytesOf []byte) (at int64, ok bool) {
	if len(bytesOf) < shortest {
		return 0, false
	}
	i, ok := slices.BinarySearchFunc(x.pieces, hashOf(bytesOf), func(p piece, h hash) int { return bytes.Compare(p[:hashSize], h[:]) })
	if !ok {
		return 0, false
	}
	at = x.pieces[i].at()
	return at, at >= 0 && at <= x.size-int64(len(bytesOf))
}

// MarshalBinary is the index as bytes, with room for a hash of them behind.
func (x *Index) MarshalBinary() ([]byte, error) {
	out := make([]byte, 0, len(indexMagic)+8+len(x.pages)*hashSize+len(x.pieces)*len(piece{})+2*sha256.Size)
	out = binary.BigEndian.AppendUint64(append(out, indexMagic...), uint64(x.size)) //nolint:gosec // no size is below 0
	for _, h := range x.pages {
		out = append(out, h[:]...)
	}
	for _, p := range x.pieces {
		out = append(out, p[:]...)
	}
	return out, nil
}

// UnmarshalBinary reads what MarshalBinary made. The error is ErrFormat if it was that of another version.
func (x *Index) UnmarshalBinary(data []byte) error {
	if err := otherFormat(data, indexFamily); err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(data, []byte(indexMagic))
	if !ok || len(rest) < 8 {
		return errors.New("it is no index of pages")
	}
	size := int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // looked at below
	hashes := rest[8:]
	pages := (size/Size + min(1, size%Size)) * hashSize
	if size < 0 || pages > int64(len(hashes)) || (int64(len(hashes))-pages)%int64(len(piece{})) != 0 {
		return fmt.Errorf("the index has %d bytes of hashes for a file of %d bytes", len(hashes), size)
	}
	x.size, x.pages, x.pieces = size, make([]hash, 0, pages/hashSize), make([]piece, 0, len(hashes[pages:])/len(piece{}))
	for h := range slices.Chunk(hashes[:pages], hashSize) {
		x.pages = append(x.pages, hash(h))
	}
	for p := range slices.Chunk(hashes[pages:], len(piece{})) {
		x.pieces = append(x.pieces, piece(p))
	}
	return nil
}

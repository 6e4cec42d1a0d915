// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// hashSize is how much is kept of a SHA-256: among 2^32 pieces two have the same by
// chance with a probability below 2^-64, and the SHA-256 of the whole file tells in the end.
const hashSize = 16

// pieceSize is how much is kept of a piece: its hash, and where it is (8 bytes, big-endian).
const pieceSize = hashSize + 8

// shortest is how long a piece is at least that is worth looking for: shorter ones take as much in the
// index as they save.
const shortest = 128

type hash [hashSize]byte

func hashOf(b []byte) hash {
	sum := sha256.Sum256(b)
	return hash(sum[:])
}

// Index has the hashes of a file's pages and pieces.
type Index struct {
	size   int64
	pages  []byte // a hash each
	pieces []byte // sorted
}

// Indexer makes the index of what is written to it.
type Indexer struct {
	leaves leaves
	index  Index
	pieces []piece
}

type piece struct {
	hash hash
	at   int64
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
		h := hashOf(page)
		x.index.pages = append(x.index.pages, h[:]...)
	}
	cut(leaf, func(from, to int) {
		if to-from >= shortest {
			x.pieces = append(x.pieces, piece{hashOf(leaf[from:to]), at + int64(from)})
		}
	})
	x.index.size = at + int64(len(leaf))
	return nil
}

// Index is that of all that was written. Nothing may be written afterwards.
func (x *Indexer) Index() *Index {
	_ = x.leaves.Close() // leaf never fails
	slices.SortFunc(x.pieces, func(a, b piece) int {
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), cmp.Compare(a.at, b.at))
	})
	x.pieces = slices.CompactFunc(x.pieces, func(a, b piece) bool { return a.hash == b.hash }) // one place is enough
	for _, p := range x.pieces {
		x.index.pieces = binary.BigEndian.AppendUint64(append(x.index.pieces, p.hash[:]...), uint64(p.at)) //nolint:gosec // no place is below 0
	}
	x.pieces = nil
	return &x.index
}

// Bytes is the size of the file.
func (x *Index) Bytes() int64 { return x.size }

// same tells whether page number n has that content.
func (x *Index) same(n int64, page []byte) bool {
	at := n * hashSize
	if at >= int64(len(x.pages)) {
		return false
	}
	return hash(x.pages[at:]) == hashOf(page)
}

// find tells where a piece is.
func (x *Index) find(piece []byte) (at int64, ok bool) {
	if len(piece) < shortest {
		return 0, false
	}
	h := hashOf(piece)
	i, ok := sort.Find(len(x.pieces)/pieceSize, func(i int) int { return bytes.Compare(h[:], x.pieces[i*pieceSize:][:hashSize]) })
	if !ok {
		return 0, false
	}
	at = int64(binary.BigEndian.Uint64(x.pieces[i*pieceSize+hashSize:])) //nolint:gosec // looked at below
	return at, at >= 0 && at <= x.size-int64(len(piece))
}

const indexMagic = "refit-index/2\n"

// MarshalBinary is the index as bytes.
func (x *Index) MarshalBinary() ([]byte, error) {
	out := binary.BigEndian.AppendUint64([]byte(indexMagic), uint64(x.size)) //nolint:gosec // no size is below 0
	return append(append(out, x.pages...), x.pieces...), nil
}

// UnmarshalBinary reads what MarshalBinary made.
func (x *Index) UnmarshalBinary(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(indexMagic))
	if !ok || len(rest) < 8 {
		return errors.New("it is no index of pages")
	}
	size := int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // looked at below
	hashes := rest[8:]
	pages := (size/Size + min(1, size%Size)) * hashSize
	if size < 0 || pages > int64(len(hashes)) || (int64(len(hashes))-pages)%pieceSize != 0 {
		return fmt.Errorf("the index has %d bytes of hashes for a file of %d bytes", len(hashes), size)
	}
	x.size, x.pages, x.pieces = size, bytes.Clone(hashes[:pages]), bytes.Clone(hashes[pages:])
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// files are two versions of a file: pages are changed, moved, added and cut off. Some are leaves, with sane numbers in them or not.
func files(t *rapid.T) (before, after []byte) {
	for range rapid.SampledFrom([]int{0, 1, 2, 40, 300, 600}).Draw(t, "pages") {
		before = append(before, page(t, int64(len(before)))...)
	}
	after = bytes.Clone(before)
	for range rapid.IntRange(0, 20).Draw(t, "changes") {
		if len(after) == 0 {
			break
		}
		at := rapid.IntRange(0, len(after)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "one byte") {
			after[at] ^= 1
			continue
		}
		from := rapid.IntRange(0, len(before)-1).Draw(t, "from") // moved, not as pages are
		copy(after[at:], before[from:min(len(before), from+rapid.IntRange(1, 5*Size).Draw(t, "bytes"))])
	}
	switch rapid.IntRange(0, 2).Draw(t, "length") {
	case 0:
		after = append(after, rapid.SliceOfN(rapid.Byte(), 0, 3*Size).Draw(t, "more")...)
	case 1:
		after = after[:rapid.IntRange(0, len(after)).Draw(t, "cut")]
	}
	return append(before, rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "tail")...), after
}

// page is one of a database, or one that seems to be.
func page(t *rapid.T, at int64) []byte {
	fill := rapid.Byte().Draw(t, "fill")
	p := bytes.Repeat([]byte{fill, fill + 1, fill + 2, byte(at / Size)}, Size/4)
	if at > 0 && rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		return p
	}
	binary.LittleEndian.PutUint64(p, uint64(at/Size)) //nolint:gosec // not below 0
	binary.LittleEndian.PutUint16(p[8:], rapid.SampledFrom([]uint16{leafFlag, leafFlag, 1, 4}).Draw(t, "flags"))
	count := rapid.SampledFrom([]uint16{0, 1, 3, 20, 0xffff}).Draw(t, "count")
	binary.LittleEndian.PutUint16(p[10:], count)
	if at == 0 && rapid.Bool().Draw(t, "meta") {
		binary.LittleEndian.PutUint32(p[headerSize:], metaMagic)
		binary.LittleEndian.PutUint32(p[headerSize+8:], rapid.SampledFrom([]uint32{0, 1000, 4096, 8192, 65536, 1 << 31}).Draw(t, "page size"))
	}
	if at > 0 && rapid.Bool().Draw(t, "sane") {
		for i := range min(int(count), 20) {
			entry := headerSize + i*elementSize
			binary.LittleEndian.PutUint32(p[entry+4:], uint32(Size/2+100*i-entry)) //nolint:gosec // small
			binary.LittleEndian.PutUint32(p[entry+8:], 17)
			binary.LittleEndian.PutUint32(p[entry+12:], rapid.SampledFrom([]uint32{83, 83, 83, 0, 1 << 31, 5000}).Draw(t, "value"))
		}
	}
	return p
}

func indexOf(t interface{ Fatal(...any) }, file []byte) *Index {
	x := NewIndexer()
	for part := range slices.Chunk(file, 10_000) { // not by pages
		if _, err := x.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	text, err := x.Index().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	y := &Index{}
	if err := y.UnmarshalBinary(text); err != nil {
		t.Fatal(err)
	}
	return y
}

func deltaOf(t interface{ Fatal(...any) }, before, after []byte) []byte {
	var delta bytes.Buffer
	if err := Write(&delta, bytes.NewReader(after), int64(len(after)), indexOf(t, before)); err != nil {
		t.Fatal(err)
	}
	return delta.Bytes()
}

func apply(before []byte, size int, delta []byte) ([]byte, error) {
	var got bytes.Buffer
	err := Apply(&got, int64(size), bytes.NewReader(before), int64(len(before)), bytes.NewReader(delta))
	return got.Bytes(), err
}

// differing counts the bytes of pages that are not where they were.
func differing(before, after []byte) (bytesOf int) {
	for at := 0; at < len(after); at += Size {
		page := after[at:min(at+Size, len(after))]
		if at >= len(before) || !bytes.Equal(page, before[at:min(at+Size, len(before))]) {
			bytesOf += len(page)
		}
	}
	return bytesOf
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
		added, err := Added(bytes.NewReader(after), indexOf(t, before))
		if err != nil || added > int64(differing(before, after)) {
			t.Fatalf("%d bytes are said to be new, and pages of %d differ (%v)", added, differing(before, after), err)
		}
		// A piece of shortest bytes that is somewhere else takes two varints, and two for what comes behind it.
		if over := len(delta) - int(added); over < 0 || over > 64+(len(after)/shortest+1)*24 {
			t.Fatalf("a delta of %d bytes for %d that are new", len(delta), added)
		}
	})
}

// TestDatabase holds the delta of a real database against what is really new in it: keys
// that are deleted take their neighbours to other pages, which are not carried again.
func TestDatabase(t *testing.T) {
	for _, pageSize := range []int{4096, 16384, 65536} {
		t.Run(fmt.Sprintf("pages of %d bytes", pageSize), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "db")
			random := rand.New(rand.NewPCG(1, 2))
			put := func(do func(b *bbolt.Bucket, put func(n int))) []byte {
				t.Helper()
				db, err := bbolt.Open(file, 0o600, &bbolt.Options{PageSize: pageSize})
				if err != nil {
					t.Fatal(err)
				}
				err = db.Update(func(tx *bbolt.Tx) error {
					b, err := tx.CreateBucketIfNotExists([]byte("key"))
					if err != nil {
						return err
					}
					b.FillPercent = 0.9 // as etcd has it
					do(b, func(n int) {
						value := make([]byte, 1000+random.IntN(8000))
						for i := range value {
							value[i] = byte(random.Uint32())
						}
						err = errors.Join(err, b.Put(binary.BigEndian.AppendUint64(nil, uint64(n)), value))
					})
					return err
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Fatal(err)
				}
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				return content
			}
			before := put(func(_ *bbolt.Bucket, put func(int)) {
				for n := range 2000 {
					put(n)
				}
			})
			fresh := 0
			after := put(func(b *bbolt.Bucket, put func(int)) {
				for n := range 40 {
					if err := b.Delete(binary.BigEndian.AppendUint64(nil, uint64(50*n))); err != nil {
						t.Fatal(err)
					}
					put(2000 + n)
				}
				for n := range 40 {
					fresh += len(b.Get(binary.BigEndian.AppendUint64(nil, uint64(2000+n))))
				}
			})
			delta := deltaOf(t, before, after)
			if got, err := apply(before, len(after), delta); err != nil || !bytes.Equal(got, after) {
				t.Fatalf("%d bytes of %d come back: %v", len(got), len(after), err)
			}
			// Branches, the tables of leaves and the zeros behind leaves are new, too.
			if differ := differing(before, after); len(delta) > 2*fresh || len(delta) > differ/2 {
				t.Errorf("a delta of %d bytes for %d of new values, where pages of %d differ", len(delta), fresh, differ)
			}
		})
	}
}

// TestLargeValues holds the delta of a database that was defragmented against what is new in it, which is nothing but tables: values
// as large as etcd takes them are found at their new places, two in one leaf.
func TestLargeValues(t *testing.T) {
	const n, large = 8, 1_400_000
	for _, pageSize := range []int{4096, 65536} {
		random := rand.NewChaCha8([32]byte{})
		open := func() *bbolt.DB {
			db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bbolt.Options{PageSize: pageSize, NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		}
		// content is what etcd sends: what is in use, without the room behind.
		content := func(db *bbolt.DB) []byte {
			var file bytes.Buffer
			if err := db.View(func(tx *bbolt.Tx) error {
				_, err := tx.WriteTo(&file)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return file.Bytes()
		}
		full, small := open(), open()
		if err := full.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("key"))
			for i := range n {
				value := make([]byte, large)
				_, _ = random.Read(value)
				err = errors.Join(err, b.Put(fmt.Append(nil, i, " large"), value), b.Put(fmt.Append(nil, i, " small"), value[:700]))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		before := content(full)
		if err := full.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("key")).Delete([]byte("0 large")) }); err != nil {
			t.Fatal(err)
		}
		if err := bbolt.Compact(small, full, 0); err != nil {
			t.Fatal(err)
		}
		after := content(small)
		if len(after) < (n-1)*large || len(after) >= len(before) {
			t.Fatalf("%d bytes became %d", len(before), len(after))
		}
		delta := deltaOf(t, before, after)
		if got, err := apply(before, len(after), delta); err != nil || !bytes.Equal(got, after) {
			t.Fatalf("%d bytes of %d come back: %v", len(got), len(after), err)
		}
		if len(delta) > large/2 {
			t.Errorf("pages of %d bytes: a delta of %d bytes, where nothing is new", pageSize, len(delta))
		}
	}
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
	for _, index := range []string{"", "refit-index/2\n", "refit-index/1\n\x00\x00\x00\x00\x00\x00\x00\x00", "refit-index/2\n\xff\xff\xff\xff\xff\xff\xff\xff", "refit-index/2\n\x00\x00\x00\x00\x00\x00\x00\x01short"} {
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

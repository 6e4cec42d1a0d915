// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
)

// How bbolt lays out its file: go.etcd.io/bbolt/internal/common, page.go and meta.go. Numbers are of the
// machine's byte order; on one where that is not little-endian, pages alone are compared.
const (
	headerSize  = 16 // of a page: its number (8 bytes), flags (2), how many elements (2), how many pages follow (4)
	elementSize = 16 // flags, where its key is from here, sizes of key and value (4 bytes each)
	leafFlag    = 0x02
	metaMagic   = 0xED0CDAED
)

// longest is how many bytes are cut at once at most, so that they fit into memory. Of a longer leaf, pages alone are
// compared from the first element on that does not fit. A leaf of bbolt may have two values that are longer than its page, and etcd
// takes none above 1.5 MiB, unless told to (--max-request-bytes).
const longest = 1024 * Size

// leaves is a writer that hands on what is written to it leaf by leaf: from a page that begins with
// its own number up to the next such. What is told is right for any bytes; whether they are
// really leaves only decides how much is found.
type leaves struct {
	do       func(at int64, leaf []byte) error
	at       int64 // where leaf begins
	leaf     []byte
	looked   int // how much of leaf was looked at
	pageSize int64
}

// Write takes the next bytes of the file.
func (l *leaves) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), l.looked+Size-len(l.leaf))
		l.leaf, p = append(l.leaf, p[:take]...), p[take:]
		if len(l.leaf) < l.looked+Size {
			break
		}
		if err := l.page(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// page looks at the page that leaf ends with.
func (l *leaves) page() error {
	page := l.leaf[l.looked:]
	if at := l.at + int64(l.looked); at == 0 {
		l.pageSize = pageSize(page)
	} else if l.looked > 0 && at%l.pageSize == 0 && number(page) == at/l.pageSize {
		if err := l.do(l.at, l.leaf[:l.looked]); err != nil {
			return err
		}
		l.at, l.leaf, l.looked = at, append(l.leaf[:0], page...), 0
	}
	l.looked += Size
	if l.looked < longest {
		return nil
	}
	return l.Close()
}

// Close hands on what is left.
func (l *leaves) Close() error {
	if len(l.leaf) == 0 {
		return nil
	}
	err := l.do(l.at, l.leaf)
	l.at, l.leaf, l.looked = l.at+int64(len(l.leaf)), l.leaf[:0], 0
	return err
}

// number is what a page says it is.
func number(page []byte) int64 { return int64(binary.LittleEndian.Uint64(page)) } //nolint:gosec // below 0 is none

// pageSize reads a database's first page.
func pageSize(page []byte) int64 {
	magic, size := binary.LittleEndian.Uint32(page[headerSize:]), int64(binary.LittleEndian.Uint32(page[headerSize+8:]))
	if magic == metaMagic && size > Size && size%Size == 0 {
		return size
	}
	return Size
}

// cut calls do for each piece of a leaf, in their order: the table of its elements, each element, and what
// is behind them by pages. What is no leaf is cut into pages.
func cut(leaf []byte, do func(from, to int)) {
	at := 0
	if len(leaf) >= Size && binary.LittleEndian.Uint16(leaf[8:])&leafFlag != 0 {
		for i := range int(binary.LittleEndian.Uint16(leaf[10:])) {
			entry := headerSize + i*elementSize
			if entry+elementSize > len(leaf) {
				break
			}
			from := entry + int(binary.LittleEndian.Uint32(leaf[entry+4:]))
			to := from + int(binary.LittleEndian.Uint32(leaf[entry+8:])) + int(binary.LittleEndian.Uint32(leaf[entry+12:]))
			if from < at || from >= to || to > len(leaf) {
				break
			}
			if from > at {
				do(at, from)
			}
			do(from, to)
			at = to
		}
	}
	for at < len(leaf) {
		to := min(len(leaf), (at/Size+1)*Size)
		do(at, to)
		at = to
	}
}

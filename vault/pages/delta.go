// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const magic = "refit-pages/1\n"

// longest is how many pages are in a run at most, so that a run fits into memory.
const longest = 256

// buffer is how many bytes are read at once.
const buffer = 64 << 10

// ErrCorrupt says of a delta that nothing can be made of it.
var ErrCorrupt = errors.New("it is no delta of pages")

// Changed counts the bytes of a file's pages that differ from the base.
func Changed(file io.Reader, base *Index) (int64, error) {
	var changed int64
	err := each(file, func(n int64, page []byte) error {
		if !base.same(n, page) {
			changed += int64(len(page))
		}
		return nil
	})
	return changed, err
}

// Write writes the delta between a file of size bytes and its base.
func Write(w io.Writer, file io.Reader, size int64, base *Index) error {
	head := binary.BigEndian.AppendUint64([]byte(magic), uint64(size)) //nolint:gosec // no size is below 0
	head = binary.BigEndian.AppendUint64(head, uint64(base.size))      //nolint:gosec // likewise
	if _, err := w.Write(head); err != nil {
		return err
	}
	var run []byte
	var first, read int64
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		head := binary.BigEndian.AppendUint64(nil, uint64(first))                  //nolint:gosec // no page is below 0
		head = binary.BigEndian.AppendUint64(head, uint64(count(int64(len(run))))) //nolint:gosec // likewise
		if _, err := w.Write(head); err != nil {
			return err
		}
		_, err := w.Write(run)
		run = run[:0]
		return err
	}
	err := each(file, func(n int64, page []byte) error {
		read += int64(len(page))
		if base.same(n, page) {
			return flush()
		}
		if len(run) == longest*Size {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(run) == 0 {
			first = n
		}
		run = append(run, page...)
		return nil
	})
	if err != nil {
		return err
	}
	if read != size {
		return fmt.Errorf("the file has %d bytes, not %d: it was changed meanwhile", read, size)
	}
	if err := flush(); err != nil {
		return err
	}
	_, err = w.Write(make([]byte, 16))
	return err
}

// each reads a file page by page; page is good until the next one.
func each(file io.Reader, do func(n int64, page []byte) error) error {
	r := bufio.NewReaderSize(file, buffer)
	page := make([]byte, Size)
	for n := int64(0); ; n++ {
		got, err := io.ReadFull(r, page)
		if got > 0 {
			if err := do(n, page[:got]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the pages: %w", err)
		}
	}
}

// Apply makes the file of size bytes out of its base, of baseSize bytes, and the delta. The
// error is ErrCorrupt if the delta is of other files, or damaged.
func Apply(w io.Writer, size int64, base io.ReaderAt, baseSize int64, delta io.Reader) error {
	d := bufio.NewReaderSize(delta, buffer)
	head := make([]byte, len(magic)+16)
	if _, err := io.ReadFull(d, head); err != nil {
		return corrupt("it ends before its head", err)
	}
	if string(head[:len(magic)]) != magic {
		return corrupt("it begins otherwise", nil)
	}
	if got, of := number(head[len(magic):]), number(head[len(magic)+8:]); got != size || of != baseSize || size < 0 {
		return corrupt(fmt.Sprintf("it is between files of %d and %d bytes, not %d and %d", of, got, baseSize, size), nil)
	}
	var at int64 // up to here the file is made
	for {
		if _, err := io.ReadFull(d, head[:16]); err != nil {
			return corrupt("it ends in the middle", err)
		}
		first, pages := number(head), number(head[8:])
		if pages == 0 {
			if _, err := d.ReadByte(); first != 0 || !errors.Is(err, io.EOF) {
				return corrupt("something comes after its end", err)
			}
			return keep(w, base, baseSize, at, size)
		}
		if first < at/Size || at%Size != 0 || pages < 0 || pages > longest || first > count(size)-pages {
			return corrupt(fmt.Sprintf("a run of %d pages at page %d", pages, first), nil)
		}
		if err := keep(w, base, baseSize, at, first*Size); err != nil {
			return err
		}
		at = min(size, (first+pages)*Size)
		if n, err := io.CopyN(w, d, at-first*Size); err != nil {
			return corrupt(fmt.Sprintf("a run ends after %d bytes", n), err)
		}
	}
}

// keep copies what the base has from one place to another, to the same place.
func keep(w io.Writer, base io.ReaderAt, baseSize, from, to int64) error {
	if to > baseSize && from < to {
		return corrupt(fmt.Sprintf("it takes bytes up to %d from a base of %d", to, baseSize), nil)
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(base, from, to-from), make([]byte, buffer))
	return err
}

func number(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) } //nolint:gosec // what is below 0 is refused

func corrupt(what string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrCorrupt says of a delta that nothing can be made of it.
var ErrCorrupt = errors.New("it is no delta of pages")

// ErrFormat says of a delta or an index that it is of another version, and nothing of its being damaged.
var ErrFormat = errors.New("it has another format")

// Apply makes the file of size bytes out of its base, of baseSize bytes, and the delta. The
// error is ErrFormat if another version wrote the delta, and ErrCorrupt if it is of other files, or damaged; what was
// written to w counts only if it is nil. Damage that leaves a delta is not found: that takes a hash of the file.
func Apply(w io.Writer, size int64, base io.ReaderAt, baseSize int64, delta io.Reader) error {
	to := bufio.NewWriterSize(w, buffer) // there may be as many parts as bytes
	if err := assemble(to, size, base, baseSize, delta); err != nil {
		return err
	}
	return to.Flush()
}

func assemble(w io.Writer, size int64, base io.ReaderAt, baseSize int64, delta io.Reader) error {
	d := bufio.NewReaderSize(delta, buffer)
	head := make([]byte, len(magic)+16)
	if _, err := io.ReadFull(d, head); err != nil {
		return corrupt("it ends before its head", err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		if err := otherFormat(head, family); err != nil {
			return err
		}
		return corrupt("it begins otherwise", nil)
	}
	if got, of := sizeIn(head[len(magic):]), sizeIn(head[len(magic)+8:]); got != size || of != baseSize || size < 0 {
		return corrupt(fmt.Sprintf("it is between files of %d and %d bytes, not %d and %d", of, got, baseSize, size), nil)
	}
	space := make([]byte, buffer)
	for at := int64(0); ; {
		op, err := binary.ReadUvarint(d)
		if err != nil {
			return corrupt("it ends in the middle", err)
		}
		n := int64(op / 2) //nolint:gosec // half of it is not below 0
		switch {
		case op == 0:
			if _, err := d.ReadByte(); !errors.Is(err, io.EOF) {
				return corrupt("something comes after its end", err)
			}
			if at != size {
				return corrupt(fmt.Sprintf("it ends after %d bytes of %d", at, size), nil)
			}
			return nil
		case n == 0 || n > size-at:
			return corrupt(fmt.Sprintf("%d bytes at %d of %d", n, at, size), nil)
		case op%2 == 1:
			if err := follow(w, d, n, space); err != nil {
				return err
			}
		default:
			moved, err := binary.ReadVarint(d)
			if err != nil {
				return corrupt("it ends in the middle", err)
			}
			if err := keep(w, base, baseSize, at, moved, n, space); err != nil {
				return err
			}
		}
		at += n
	}
}

// keep copies n bytes of the base, from moved bytes after at.
func keep(w io.Writer, base io.ReaderAt, baseSize, at, moved, n int64, space []byte) error {
	if moved < -at || moved > baseSize-at || n > baseSize-at-moved {
		return corrupt(fmt.Sprintf("it takes %d bytes, %d after %d, from a base of %d", n, moved, at, baseSize), nil)
	}
	for from := at + moved; n > 0; {
		part := space[:min(n, int64(len(space)))]
		got, err := base.ReadAt(part, from)
		if got < len(part) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read the base at %d: %w", from, err)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		from, n = from+int64(got), n-int64(got)
	}
	return nil
}

// follow copies the next n bytes of the delta.
func follow(w io.Writer, delta io.Reader, n int64, space []byte) error {
	for n > 0 {
		part := space[:min(n, int64(len(space)))]
		if _, err := io.ReadFull(delta, part); err != nil {
			return corrupt(fmt.Sprintf("%d bytes more should follow", n), err)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// otherFormat is ErrFormat if data begins as that of a family does in another format, and nil otherwise.
func otherFormat(data []byte, family string) error {
	line, _, _ := bytes.Cut(data[:min(len(data), len(family)+8)], []byte("\n"))
	number, ok := strings.CutPrefix(string(line), family)
	if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil && n != format {
		return fmt.Errorf("%w: %d, and %d is known here", ErrFormat, n, format)
	}
	return nil
}

func sizeIn(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) } //nolint:gosec // what is below 0 is refused

func corrupt(what string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s", ErrCorrupt, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
}

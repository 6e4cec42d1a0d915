// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Deltas and indexes begin with the name of their family, the number of their format, and a new line.
const (
	format      = 2
	family      = "refit-pages/"
	magic       = family + "2\n"
	indexFamily = "refit-index/"
	indexMagic  = indexFamily + "2\n"
)

// buffer is how many bytes are read at once.
const buffer = 64 << 10

// Added counts the bytes of a file that its base has not.
func Added(file io.Reader, base *Index) (int64, error) {
	var added int64
	_, err := compare(file, base, func(bytes []byte, _ int64, there bool) error {
		if !there {
			added += int64(len(bytes))
		}
		return nil
	})
	return added, err
}

// Write writes the delta between a file of size bytes and its base.
func Write(w io.Writer, file io.Reader, size int64, base *Index) error {
	head := binary.BigEndian.AppendUint64([]byte(magic), uint64(size)) //nolint:gosec // no size is below 0
	head = binary.BigEndian.AppendUint64(head, uint64(base.size))      //nolint:gosec // likewise
	if _, err := w.Write(head); err != nil {
		return err
	}
	d := &deltaWriter{w: w}
	read, err := compare(file, base, d.add)
	if err != nil {
		return err
	}
	if read != size {
		return fmt.Errorf("the file has %d bytes, not %d: it was changed meanwhile", read, size)
	}
	if err := d.flush(); err != nil {
		return err
	}
	_, err = w.Write([]byte{0})
	return err
}

// compare calls do for each part of a file, in their order, with how far from its place in the file
// the base has it, if that is there. It returns the size of the file.
func compare(file io.Reader, base *Index, do func(bytes []byte, moved int64, there bool) error) (int64, error) {
	l := &leaves{do: func(at int64, leaf []byte) error { return compareLeaf(at, leaf, base, do) }}
	read, err := io.CopyBuffer(l, struct{ io.Reader }{file}, make([]byte, buffer))
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		return read, fmt.Errorf("compare pages: %w", err)
	}
	return read, nil
}

func compareLeaf(at int64, leaf []byte, base *Index, do func(bytes []byte, moved int64, there bool) error) (err error) {
	same, all := make([]bool, 0, len(leaf)/Size+1), true
	for from := 0; from < len(leaf); from += Size {
		is := base.same((at+int64(from))/Size, leaf[from:min(len(leaf), from+Size)])
		same, all = append(same, is), all && is
	}
	if all {
		return do(leaf, 0, true)
	}
	cut(leaf, func(from, to int) {
		if err != nil {
			return
		}
		place, there := base.find(leaf[from:to])
		moved := place - at - int64(from)
		for from < to && err == nil {
			page := from / Size
			end := min(to, (page+1)*Size)
			if same[page] {
				err = do(leaf[from:end], 0, true)
			} else {
				err = do(leaf[from:end], moved, there)
			}
			from = end
		}
	})
	return err
}

// deltaWriter writes parts of a file, neighbours as one.
type deltaWriter struct {
	w     io.Writer
	kept  int64 // bytes of the base that are not written yet
	moved int64
	fresh []byte // bytes that are not written yet
}

func (d *deltaWriter) add(bytes []byte, moved int64, there bool) error {
	if d.kept > 0 && (!there || moved != d.moved) || len(d.fresh) > 0 && (there || len(d.fresh)+len(bytes) > longest) {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if there {
		d.kept, d.moved = d.kept+int64(len(bytes)), moved
	} else {
		d.fresh = append(d.fresh, bytes...)
	}
	return nil
}

func (d *deltaWriter) flush() error {
	if d.kept > 0 {
		_, err := d.w.Write(binary.AppendVarint(binary.AppendUvarint(nil, 2*uint64(d.kept)), d.moved)) //nolint:gosec // above 0
		d.kept = 0
		return err
	}
	if len(d.fresh) == 0 {
		return nil
	}
	_, err := d.w.Write(binary.AppendUvarint(nil, 2*uint64(len(d.fresh))+1))
	if err == nil {
		_, err = d.w.Write(d.fresh)
	}
	d.fresh = d.fresh[:0]
	return err
}

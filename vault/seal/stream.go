// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// ErrNoKey says that none of the identities can read what is sealed.
var ErrNoKey = errors.New("it is encrypted to others than the identities given")

// noneGiven is ErrNoKey where there is no identity at all.
type noneGiven struct{}

func (noneGiven) Error() string        { return "it is encrypted, and no identity was given" }
func (noneGiven) Is(target error) bool { return target == ErrNoKey }

// maxWindow is how far back a stream may refer, in bytes: what Writer asks for is below it.
const maxWindow = 64 << 20

// Writer compresses what is written, and encrypts that to the recipients, if there are any. Close
// ends the stream; it does not close w.
func Writer(w io.Writer, to Recipients) (io.WriteCloser, error) {
	var encrypted io.WriteCloser = open{w}
	if !to.None() {
		var err error
		if encrypted, err = age.Encrypt(w, to.keys...); err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
	}
	compressed, err := zstd.NewWriter(encrypted, zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return &writer{compressed, encrypted}, nil
}

type open struct{ io.Writer }

func (open) Close() error { return nil }

type writer struct {
	*zstd.Encoder
	encrypted io.Closer
}

func (w *writer) Close() error {
	if err := w.Encoder.Close(); err != nil {
		return err
	}
	return w.encrypted.Close()
}

// Reader reads what a Writer wrote; encrypted says whether it was encrypted, which is not
// guessed from what is there. The error is ErrNoKey if no identity fits. It reads r to
// its end only if it is itself read to its end. Close frees what it holds.
func Reader(r io.Reader, encrypted bool, by Identities) (io.ReadCloser, error) {
	if encrypted {
		var err error
		if by.None() {
			return nil, noneGiven{}
		}
		if r, err = age.Decrypt(r, by.keys...); err != nil {
			if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
				return nil, ErrNoKey
			}
			return nil, fmt.Errorf("decrypt: %w", err)
		}
		r = uncut{r}
	}
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return d.IOReadCloser(), nil
}

// uncut tells of an encrypted stream that has no end in a way that the decompressor does not take for one.
type uncut struct{ io.Reader }

func (u uncut) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("decrypt: it was cut off")
	}
	return n, err
}

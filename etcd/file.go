// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"refit.dev/refit/internal/hint"
)

// ErrDamaged says of a file that it is no whole snapshot.
var ErrDamaged = errors.New("it is no whole snapshot of etcd")

// ErrNotFile says of a path that there is something else than a file.
var ErrNotFile = errors.New("no regular file")

// sector divides the size of a database file, which has pages of 4 KiB or more. A file of
// a multiple of it and 32 bytes ends with the SHA-256 of what is before
// (go.etcd.io/etcd/etcdutl/v3/snapshot, hasChecksum).
const sector = 512

// openSnapshot opens a regular file; it does not wait for whoever would write to a pipe.
func openSnapshot(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = hint.Wrap(fmt.Errorf("%s is %w but a directory", path, ErrNotFile), "name the file that a snapshot was saved to")
	case !info.Mode().IsRegular():
		err = hint.Wrap(fmt.Errorf("%s is %w (its mode is %s)", path, ErrNotFile, info.Mode()), "name the file that a snapshot was saved to")
	case info.Size() == 0:
		err = fmt.Errorf("%s: %w: it is empty", path, ErrDamaged)
	case mistaken(f) != "":
		err = fmt.Errorf("%s: %w: it is %s", path, ErrDamaged, mistaken(f))
	case info.Size()%sector != 0 && info.Size()%sector != sha256.Size:
		err = fmt.Errorf("%s: %w: no database has %d bytes, so it was cut off or is something else", path, ErrDamaged, info.Size())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// mistaken says what a file is that people take for a snapshot, by what it begins with; "" if it is none of these. A
// database begins with the number of its first page, which is 0.
func mistaken(f io.ReaderAt) string {
	var begin [24]byte
	n, _ := f.ReadAt(begin[:], 0) // who reads on finds what is wrong
	for _, is := range []struct{ magic, text string }{
		{"\x1f\x8b", "compressed with gzip: unpack it first"},
		{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"},
		{"\xfd7zXZ", "compressed with xz: unpack it first"},
		{"PK\x03\x04", "a zip archive: unpack it first"},
		{"age-encryption.org/", "encrypted with age: decrypt it first"},
		{"SQLite format 3\x00", "a database of SQLite, and no etcd's"},
	} {
		if bytes.HasPrefix(begin[:n], []byte(is.magic)) {
			return is.text
		}
	}
	return ""
}

// isFile says what is wrong with a path before anybody reads what is there.
func isFile(path string) error {
	f, _, err := openSnapshot(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkSum compares a file with the SHA-256 that it ends with, and returns that in hex. A
// file that ends with none, as a copied database does, gives "".
func checkSum(f io.ReaderAt, path string, size int64) (string, error) {
	if size%sector != sha256.Size {
		return "", nil
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, size-sha256.Size), make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	want, err := claimedSum(f, path, size)
	if err == nil && hex.EncodeToString(h.Sum(nil)) != want {
		return "", fmt.Errorf("%s: %w: its content does not have the SHA-256 that it ends with", path, ErrDamaged)
	}
	return want, err
}

// claimedSum is the SHA-256 that a file ends with, in hex, whether it is right or not.
func claimedSum(f io.ReaderAt, path string, size int64) (string, error) {
	var claimed [sha256.Size]byte
	if _, err := f.ReadAt(claimed[:], size-sha256.Size); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(claimed[:]), nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// File is a file of a control plane's machine.
type File struct {
	// Path is absolute and clean.
	Path string
	Mode fs.FileMode
	Data []byte
}

// maxFiles is how many bytes the files of a set may have together: a control plane has some hundred KiB.
const maxFiles = 64 << 20

// writeFiles writes files as a tar archive, without their leading slash.
func writeFiles(w io.Writer, files []File, now time.Time) error {
	t := tar.NewWriter(w)
	total := 0
	for _, f := range files {
		if total += len(f.Data); total > maxFiles {
			return fmt.Errorf("the files of the machine have more than %d bytes", maxFiles)
		}
		if err := checkPath(f.Path); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), ModTime: now.UTC().Truncate(time.Second), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("pack %s: %w", f.Path, err)
		}
		if _, err := t.Write(f.Data); err != nil {
			return fmt.Errorf("pack %s: %w", f.Path, err)
		}
	}
	return t.Close()
}

// readFiles reads what writeFiles wrote, to the end. What is no regular file, or leads
// elsewhere, is refused.
func readFiles(r io.Reader) ([]File, error) {
	limited := &io.LimitedReader{R: r, N: 2 * maxFiles}
	t := tar.NewReader(limited)
	var files []File
	total := int64(0)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			if limited.N == 0 {
				return nil, fmt.Errorf("%w: the files have no end", ErrDamaged)
			}
			_, err = io.Copy(io.Discard, limited)
			return files, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the files: %w", ErrDamaged, err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("%w: among the files is %q, which is no regular file", ErrDamaged, h.Name)
		}
		f := File{Path: "/" + h.Name, Mode: fs.FileMode(h.Mode).Perm()} //nolint:gosec // the permissions alone
		if err := checkPath(f.Path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if total += h.Size; total > maxFiles {
			return nil, fmt.Errorf("%w: the files have more than %d bytes", ErrDamaged, maxFiles)
		}
		var data bytes.Buffer
		if _, err := io.Copy(&data, t); err != nil { //nolint:gosec // limited above
			return nil, fmt.Errorf("%w: %q: %w", ErrDamaged, h.Name, err)
		}
		f.Data = data.Bytes()
		files = append(files, f)
	}
}

// checkPath refuses paths that would lead elsewhere.
func checkPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%q is no path of a file", p)
	}
	return nil
}

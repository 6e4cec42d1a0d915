// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// archive is a directory on this machine that is to be sent to another one.
type archive struct{ dir string }

// sent is what went through a stream: the SHA-256 of the files by their paths, in
// hexadecimal, and why it is not all of them.
type sent struct {
	sums map[string]string
	err  error
}

// stream returns the directory as a tar, and then what was sent. The stream has to be closed.
func (a *archive) stream() (io.ReadCloser, <-chan sent) {
	r, w := io.Pipe()
	done := make(chan sent, 1)
	go func() {
		found := map[string]string{}
		err := a.write(w, found)
		w.CloseWithError(err)
		done <- sent{found, err}
	}()
	return r, done
}

func (a *archive) write(to io.Writer, sums map[string]string) error {
	t := tar.NewWriter(to)
	err := filepath.WalkDir(a.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == a.dir {
			return err
		}
		name, err := filepath.Rel(a.dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Format: tar.FormatPAX}
		switch {
		case info.IsDir():
			header.Typeflag = tar.TypeDir
			return t.WriteHeader(header)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
		header.Typeflag, header.Size = tar.TypeReg, info.Size()
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		sums[header.Name], err = copyFile(t, path)
		return err
	})
	if err != nil {
		return err // without an end of the archive
	}
	return t.Close()
}

func copyFile(to io.Writer, path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, hash), f)
	return hex.EncodeToString(hash.Sum(nil)), errors.Join(err, f.Close())
}

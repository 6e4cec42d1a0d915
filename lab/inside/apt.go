// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// index returns the Packages file of a repository as the client sees it.
func (s *store) index(r *http.Request) ([]byte, error) {
	root := os.DirFS(filepath.Join(s.content, "apt"))
	minor := r.PathValue("minor")
	if !fs.ValidPath(minor) || strings.ContainsAny(minor, "/*?[\\") {
		return nil, fs.ErrNotExist
	}
	paragraphs, err := fs.Glob(root, minor+"/*/*.paragraph")
	if err != nil {
		return nil, err
	}
	if len(paragraphs) == 0 {
		return nil, fs.ErrNotExist
	}
	var out bytes.Buffer
	for _, p := range paragraphs {
		file := strings.TrimSuffix(filepath.Base(p), ".paragraph") + ".deb"
		hidden, err := s.hides(r, file)
		if err != nil {
			return nil, err
		}
		if hidden {
			continue
		}
		data, err := fs.ReadFile(root, p)
		if err != nil {
			return nil, err
		}
		out.Write(data)
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

func (s *store) packages(w http.ResponseWriter, r *http.Request) {
	index, err := s.index(r)
	if err != nil {
		fail(w, err)
		return
	}
	_, _ = w.Write(index)
}

func (s *store) release(w http.ResponseWriter, r *http.Request) {
	index, err := s.index(r)
	if err != nil {
		fail(w, err)
		return
	}
	made, err := os.Stat(filepath.Join(s.content, "images.json")) // what was written last
	if err != nil {
		fail(w, err)
		return
	}
	fmt.Fprintf(w, "Origin: refit lab\nLabel: refit lab\nDate: %s\nSHA256:\n %x %d Packages\n",
		made.ModTime().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), sha256.Sum256(index), len(index))
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, fs.ErrNotExist) {
		status = http.StatusNotFound
	}
	http.Error(w, err.Error(), status)
}

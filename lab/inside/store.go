// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// newStore serves the packages and images in content. In the directory hidden a
// file that has a client's address as its name lists package files, one a line,
// that this client is not shown.
func newStore(content, hidden string) (http.Handler, error) {
	data, err := os.ReadFile(filepath.Join(content, "images.json"))
	if err != nil {
		return nil, err
	}
	s := &store{content: content, hidden: hidden, tags: map[string]string{}}
	if err := json.Unmarshal(data, &s.tags); err != nil {
		return nil, fmt.Errorf("images.json: %w", err)
	}
	mux := http.NewServeMux()
	// The layout of pkgs.k8s.io: a flat repository for each minor version.
	mux.HandleFunc("GET /core:/stable:/{minor}/deb/Release", s.release)
	mux.HandleFunc("GET /core:/stable:/{minor}/deb/Packages", s.packages)
	mux.HandleFunc("GET /core:/stable:/{minor}/deb/{arch}/{file}", s.file)
	// The OCI distribution specification, as far as pulling goes. Image names have
	// slashes, which is more than a pattern can tell apart.
	mux.HandleFunc("GET /v2/", s.registry)
	return mux, nil
}

type store struct {
	content, hidden string
	tags            map[string]string // NAME:TAG to the digest of the manifest
}

// hides tells whether the client is not shown a package file.
func (s *store) hides(r *http.Request, file string) (bool, error) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false, err
	}
	data, err := os.ReadFile(filepath.Join(s.hidden, client))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for line := range strings.FieldsSeq(string(data)) {
		if line == file {
			return true, err
		}
	}
	return false, err
}

func (s *store) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	hidden, err := s.hides(r, name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if hidden || !strings.HasSuffix(name, ".deb") {
		http.NotFound(w, r)
		return
	}
	http.ServeFileFS(w, r, os.DirFS(filepath.Join(s.content, "apt")), r.PathValue("minor")+"/"+r.PathValue("arch")+"/"+name)
}

func (s *store) registry(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "" {
		fmt.Fprintln(w, "{}")
		return
	}
	if _, digest, ok := strings.Cut(path, "/blobs/"); ok {
		s.blob(w, r, digest, "application/octet-stream")
		return
	}
	name, ref, ok := strings.Cut(path, "/manifests/")
	if digest, tagged := s.tags[name+":"+ref]; tagged {
		ref = digest
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.blob(w, r, ref, "application/vnd.oci.image.manifest.v1+json")
}

func (s *store) blob(w http.ResponseWriter, r *http.Request, digest, mediaType string) {
	if !strings.HasPrefix(digest, "sha256:") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeFileFS(w, r, os.DirFS(filepath.Join(s.content, "blobs")), digest)
}

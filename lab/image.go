// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// An image is one layer, uncompressed because it is served to the next room, and
// two documents. Their format is that of the OCI image specification 1.1.

// image is a file in a file system that is empty otherwise, or is that of a layer.
type image struct {
	name, tag string // as kubeadm asks for it, without the registry: coredns/coredns, v1.14.6
	files     map[string]string
	onto      string // tar of further files, none if empty
	start     []string
}

// images writes images into a directory as a registry keeps them: blobs/ with
// the digests as names, and the tags in images.json.
type images struct {
	dir  string
	tags map[string]string // NAME:TAG to the digest of the manifest
}

// descriptor is how one blob names another.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

const (
	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func newImages(dir string) (*images, error) {
	return &images{dir: dir, tags: map[string]string{}}, os.MkdirAll(filepath.Join(dir, "blobs"), 0o755)
}

// add writes an image.
func (s *images) add(img image) error {
	layer, err := s.blob(mediaTypeLayer, img.layer)
	if err != nil {
		return fmt.Errorf("image %s:%s: %w", img.name, img.tag, err)
	}
	config, err := s.document(mediaTypeConfig, map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"Entrypoint": img.start,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := s.document(mediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": mediaTypeManifest, "config": config, "layers": []descriptor{layer},
	})
	s.tags[img.name+":"+img.tag] = manifest.Digest
	return err
}

// close writes the tags.
func (s *images) close() error {
	data, err := json.MarshalIndent(s.tags, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "images.json"), data, 0o644)
}

func (s *images) document(mediaType string, content any) (descriptor, error) {
	return s.blob(mediaType, func(w io.Writer) error { return json.NewEncoder(w).Encode(content) })
}

// blob writes what write writes under the name of its digest.
func (s *images) blob(mediaType string, write func(io.Writer) error) (descriptor, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "blobs"), ".new-")
	if err != nil {
		return descriptor{}, err
	}
	defer f.Close()
	h := sha256.New()
	if err := write(io.MultiWriter(f, h)); err != nil {
		return descriptor{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return descriptor{}, err
	}
	d := descriptor{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", h.Sum(nil)), Size: info.Size()}
	if err := f.Close(); err != nil {
		return descriptor{}, err
	}
	return d, os.Rename(f.Name(), filepath.Join(s.dir, "blobs", d.Digest))
}

// layer writes the files of an image as a tar: those of onto, then its own.
func (img image) layer(w io.Writer) error {
	out := tar.NewWriter(w)
	if img.onto != "" {
		if err := copyTar(out, img.onto); err != nil {
			return err
		}
	}
	if err := tarFiles(out, img.files); err != nil {
		return err
	}
	return out.Close()
}

// copyTar copies the entries of the tar file path.
func copyTar(out *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := tar.NewReader(f)
	for {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

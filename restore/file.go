// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"refit.dev/refit/run"
)

// File is a file of a control plane's machine, or a link.
type File struct {
	// Path is absolute and clean.
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode,omitempty"`
	Data []byte      `json:"data,omitempty"`
	// Link is what a symbolic link leads to, "" for a file.
	Link string `json:"link,omitempty"`
}

// writeFiles keeps files at a path on this machine, for this user alone, until the run is over.
func writeFiles(path string, files []File) (*run.Bootstrap, error) {
	text, err := json.Marshal(files)
	if err != nil {
		return nil, fmt.Errorf("keep the files of the control plane: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the files of the control plane: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("keep the files of the control plane: %w", err)
	}
	sum := sha256.Sum256(text)
	return &run.Bootstrap{Files: path, SHA256: hex.EncodeToString(sum[:])}, nil
}

// readFiles reads what writeFiles wrote.
func readFiles(b *run.Bootstrap) ([]File, error) {
	text, err := os.ReadFile(b.Files)
	if err != nil {
		return nil, fmt.Errorf("read the files of the control plane: %w", err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, fmt.Errorf("%s is not what it was when the run was begun", b.Files)
	}
	var files []File
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("read the files of the control plane: %w", err)
	}
	return files, nil
}

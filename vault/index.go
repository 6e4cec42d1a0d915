// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"refit.dev/refit/vault/pages"
)

const indexSuffix = ".pages"

// indexFile is where the page hashes of a full are on this machine. Its name holds the full's
// SHA-256, so that they are of no other file.
func (t Taker) indexFile(m *Manifest) string {
	return filepath.Join(t.Indexes, m.Name+"-"+m.Snapshot.SHA256[:min(16, len(m.Snapshot.SHA256))]+indexSuffix)
}

// index reads the page hashes of a full. They are followed by their own SHA-256: a delta by wrong
// hashes would be found only when it is read.
func (t Taker) index(m *Manifest) (*pages.Index, error) {
	text, err := os.ReadFile(t.indexFile(m))
	if err != nil {
		return nil, err
	}
	at := len(text) - 2*sha256.Size
	if at < 0 || sumOf(text[:at]) != string(text[at:]) {
		return nil, errors.New("they are damaged")
	}
	x := &pages.Index{}
	if err := x.UnmarshalBinary(text[:at]); err != nil {
		return nil, err
	}
	if x.Bytes() != m.Snapshot.Bytes {
		return nil, errors.New("they are of another file")
	}
	return x, nil
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// keepIndex writes the page hashes of a full, and removes those of earlier ones.
func (t Taker) keepIndex(m *Manifest, x *pages.Index) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("set %s is saved; keep the hashes of its pages, for deltas: %w", m.Name, err)
		}
	}()
	text, err := x.MarshalBinary()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(t.Indexes, 0o700); err != nil {
		return err
	}
	file := t.indexFile(m)
	if err := writeAside(file, append(text, sumOf(text)...), 0o600); err != nil {
		return err
	}
	old, err := os.ReadDir(t.Indexes)
	if err != nil {
		return err
	}
	for _, e := range old {
		if strings.HasSuffix(e.Name(), indexSuffix) && e.Name() != filepath.Base(file) {
			err = errors.Join(err, os.Remove(filepath.Join(t.Indexes, e.Name())))
		}
	}
	return err
}

// writeAside writes a file aside, syncs it and renames it.
func writeAside(file string, content []byte, mode os.FileMode) (err error) {
	aside, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".refit-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(aside.Name())
		}
	}()
	_, err = aside.Write(content)
	err = errors.Join(err, aside.Chmod(mode), aside.Sync(), aside.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(aside.Name(), file); err != nil {
		return err
	}
	return syncPath(filepath.Dir(file))
}

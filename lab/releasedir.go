// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Releases is a directory that is laid out like the official releases, with all versions that a
// lab can run: vX.Y.Z/bin/linux/ARCH/NAME, and NAME.sha256 beside it. A lab from scratch has it.
func (l *Lab) Releases() string { return l.path("releases") }

// writeReleases writes the directory of the releases: links to what the cache has, and sums.
func (l *Lab) writeReleases(made made) error {
	for _, r := range releases() {
		dir := filepath.Join(l.Releases(), "v"+r.Version, "bin", "linux", runtime.GOARCH)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, name := range append(componentsOf(ControlPlane), "kubectl") {
			if err := linkRelease(programOf(made, r, name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkRelease makes path a link to a program, with its sum beside it. A link that is right is
// left as it is.
func linkRelease(program, path string) error {
	has, err := os.Readlink(path)
	if err == nil && has == program {
		if _, err := os.Stat(path + ".sha256"); err == nil {
			return nil
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if err := writeFile(path+".sha256", []byte(hex.EncodeToString(h.Sum(nil))+"\n"), 0o644); err != nil {
		return err
	}
	return os.Symlink(program, path)
}

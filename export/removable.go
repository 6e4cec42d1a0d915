// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"refit.dev/refit/manifest"
)

// sealedHead begins a file that is encrypted (https://age-encryption.org/v1, ASCII armor).
const sealedHead = "-----BEGIN AGE ENCRYPTED FILE-----"

// removable says why a file that the index lists is no file of an export, if it is none: an index may come
// from a repository that others write to, and must not have a file removed that is something else.
func (t *tree) removable(path string) error {
	info, err := t.root.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is listed as a file of an export, and is no regular file", path)
	}
	text, err := t.root.ReadFile(path)
	if err != nil {
		return err
	}
	plain, encrypted := strings.CutSuffix(path, sealedEnd)
	if encrypted {
		if bytes.HasPrefix(text, []byte(sealedHead)) || len(text) == 0 {
			return nil
		}
		return fmt.Errorf("%s is listed as a file of an export, and is not encrypted as one", path)
	}
	namespace, kind, name, err := manifest.SplitPath(plain)
	if err != nil {
		return err
	}
	objects, err := manifest.Parse(text)
	if err != nil {
		return fmt.Errorf("%s is listed as a file of an export, and holds something else: %w", path, err)
	}
	if len(objects) != 1 || objects[0].GetNamespace() != namespace || objects[0].GetName() != name ||
		!strings.HasPrefix(kind, strings.ToLower(objects[0].GetKind())) {
		return fmt.Errorf("%s is listed as a file of an export, and does not hold the object that an export would write there", path)
	}
	return nil
}

// open tells whether others than its user may read a file, or write to it.
func (t *tree) open(path string) bool {
	info, err := t.root.Lstat(path)
	return err == nil && info.Mode().Perm()&0o077 != 0
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"refit.dev/refit/internal/hint"
)

// List is a Cut as one document: a List of apiVersion v1, as kubectl get -o yaml writes it, sorted as the files are.
func List(cut *Cut) []byte {
	var b bytes.Buffer
	b.WriteString("apiVersion: v1\nitems:")
	if len(cut.Objects) == 0 {
		b.WriteString(" []")
	}
	b.WriteByte('\n')
	for i := range cut.Objects {
		mark := "- "
		for line := range bytes.Lines(cut.Objects[i].Text) {
			if len(bytes.TrimRight(line, "\n")) > 0 { // an empty line of a text block has no indent
				b.WriteString(mark)
			}
			b.Write(line)
			mark = "  "
		}
	}
	b.WriteString("kind: List\n")
	return b.Bytes()
}

// WriteList writes a text to a file, aside first, and renames it. A file that is there is replaced if replace says so.
func WriteList(file string, text []byte, secret, replace bool) error {
	if _, err := os.Lstat(file); err == nil && !replace {
		return directoryError{hint.Wrap(fmt.Errorf("%s: %w", file, os.ErrExist), "name another file, or say --overwrite")}
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return directoryError{err}
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone if all went well
	mode := os.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(f.Name(), file)
}

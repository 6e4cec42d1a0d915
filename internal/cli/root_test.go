// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

// `refit runs show | head -n 1` says nothing on the standard error; whatever else fails is said.
func TestReaderLeft(t *testing.T) {
	left := &fs.PathError{Op: "write", Path: stdoutName, Err: syscall.EPIPE}
	for err, want := range map[error]bool{
		left:                                  true,
		exitWith(exitBlocked, left):           true,
		fmt.Errorf("save it: %w", left):       false,
		errors.Join(left, errors.New("also")): false,
		&fs.PathError{Op: "write", Path: stdoutName, Err: syscall.ENOSPC}: false,
		&fs.PathError{Op: "write", Path: "plan.yaml", Err: syscall.EPIPE}: false,
	} {
		if readerLeft(err) != want {
			t.Errorf("readerLeft(%v) = %t", err, !want)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHere runs programs as binaries are asked: without the environment of this process, and
// one that may not be run is told apart from one that says no.
func TestHere(t *testing.T) {
	t.Setenv("SECRET", "apple")
	script := filepath.Join(t.TempDir(), "kubelet")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv\nexit 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := here(t.Context(), []string{script}); !errors.Is(err, errNotHere) {
		t.Errorf("one that may not be run: %v", err)
	}
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	code, output, err := here(t.Context(), []string{script})
	if code != 3 || err != nil || !strings.Contains(output, "LC_ALL=C") || strings.Contains(output, "apple") {
		t.Errorf("%d, %q, %v", code, output, err)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRaiseLimits(t *testing.T) {
	root := t.TempDir()
	instances, watches := filepath.Join(root, "fs", "inotify", "max_user_instances"), filepath.Join(root, "fs", "inotify", "max_user_watches")
	if err := os.MkdirAll(filepath.Dir(instances), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, value := range map[string]string{instances: "128\n", watches: "1048576\n"} {
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	if err := raiseLimits(root, func(string) { said++ }); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{instances: "8192", watches: "1048576\n"} { // never lowered
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", path, got, err, want)
		}
	}
	if said != 1 {
		t.Errorf("%d changes were told, want 1", said)
	}
}

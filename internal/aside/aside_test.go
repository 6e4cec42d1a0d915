// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package aside

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// dirEnv has the test's program make something of both kinds in a directory, and be killed.
const dirEnv = "REFIT_TEST_ASIDE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		_, fileErr := File(dir, "file-")
		_, _, dirErr := Dir(dir, "dir-")
		if errors.Join(fileErr, dirErr) != nil {
			os.Exit(1)
		}
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		select {}
	}
	os.Exit(m.Run())
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestWhatIsSwept: what a process has left that was killed, and nothing that another one holds, that is called otherwise, that is kept, or
// that is a link.
func TestWhatIsSwept(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), dirEnv+"="+dir)
		if err := cmd.Run(); err == nil {
			t.Fatal("it was not killed")
		}
		if left := names(t, dir); len(left) != 2 {
			t.Fatalf("two in turn have left %q", left)
		}
	}
	file, err := File(dir, "file-")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	held, remove, err := Dir(dir, "dir-")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "dir-mine"), 0o700), os.Mkdir(filepath.Join(dir, "dir-77"), 0o700), os.Symlink(elsewhere, filepath.Join(dir, "dir-78"))); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(dir, "dir-77")
	Sweep(dir, "dir-", func(path string) bool { return path == keep })
	Sweep(dir, "file-", nil)
	want := []string{filepath.Base(file.Name()), filepath.Base(held), "dir-mine", "dir-77", "dir-78"}
	slices.Sort(want)
	if left := names(t, dir); !slices.Equal(left, want) {
		t.Errorf("there is %q, want %q", left, want)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	Sweep(dir, "dir-", nil)
	if left := names(t, dir); slices.Contains(left, "dir-77") || slices.Contains(left, filepath.Base(held)) {
		t.Errorf("there is %q still", left)
	}
}

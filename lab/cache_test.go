// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCache(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	made := 0
	thing := func(content string, fail error) (string, error) {
		k, err := key(content)
		if err != nil {
			t.Fatal(err)
		}
		return c.get("thing", k, func(dir string) error {
			made++
			return errors.Join(os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600), fail)
		})
	}
	broken := errors.New("broken")
	if _, err := thing("one", broken); !errors.Is(err, broken) {
		t.Errorf("got %v, want what went wrong", err)
	}
	if left, err := os.ReadDir(c.dir); err != nil || len(left) > 0 {
		t.Errorf("what failed left %v, %v", left, err)
	}
	first, err := thing("one", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := thing("one", nil); err != nil || again != first || made != 2 {
		t.Errorf("the second time: %s, %v, made %d times; want %s, made twice", again, err, made, first)
	}
	// What a process that was killed left aside is no obstacle.
	k, err := key("two")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(c.dir, "thing-"+k+".new", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	second, err := thing("two", nil)
	if err != nil || second == first {
		t.Fatalf("got %s, %v; want another directory than %s", second, err, first)
	}
	// What a lab uses stays, what nobody does goes.
	later := &cache{dir: c.dir}
	if _, err := later.get("other", "key", func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := later.prune([]string{filepath.Base(second)}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(c.dir)
	if err != nil || len(left) != 2 || left[0].Name() != "other-key" || left[1].Name() != filepath.Base(second) {
		t.Errorf("got %v, %v; want other-key and %s", left, err, filepath.Base(second))
	}
}

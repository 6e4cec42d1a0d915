// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"refit.dev/refit/manifest"
)

// childDir has the test's own program write into that directory, again and again, until it is killed.
const childDir = "REFIT_TEST_EXPORT_DIR"

// smallDir has it write into that directory what its disk has no room for.
const smallDir = "REFIT_TEST_EXPORT_SMALL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(smallDir); dir != "" {
		signal.Ignore(unix.SIGXFSZ)
		err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 8 << 10, Max: 8 << 10})
		if err == nil {
			c := cutOf(0)
			c.Objects[len(c.Objects)-1].Text = bytes.Repeat([]byte("#"), 1<<20)
			_, err = Write(dir, c, Options{})
		}
		if !errors.Is(err, unix.EFBIG) {
			fmt.Fprintf(os.Stderr, "want that there is no room, got %v\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(childDir); dir != "" {
		for n := 1; ; n++ {
			if _, err := Write(dir, cutOf(n%2), Options{}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// cutOf are two Cuts of many objects each: some are in one of them alone, and those in both differ.
func cutOf(which int) *Cut {
	c := &Cut{}
	for i := range 300 {
		if i%3 == which {
			continue
		}
		name := fmt.Sprintf("c-%03d", i)
		key := manifest.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
		c.Objects = append(c.Objects, Object{Key: key, Path: manifest.Path("shop", "", "ConfigMap", name), Text: configMap(name, which)})
	}
	return c
}

func configMap(name string, which int) []byte {
	return fmt.Appendf(nil, "apiVersion: v1\ndata:\n  which: \"%d\"\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: shop\n", which, name)
}

func filesOfCut(c *Cut) map[string]string {
	all := map[string]string{}
	for _, o := range c.Objects {
		all[o.Path] = string(o.Text)
	}
	return all
}

// TestNoRoom: what is written aside does not stay on a disk that is full, and the tree is what it was.
func TestNoRoom(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if _, err := Write(dir, cutOf(1), Options{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), smallDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(filepath.Join(dir, asideName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was written aside is still there: %v", err)
	}
	for path, want := range filesOfCut(cutOf(1)) {
		if text, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
}

// TestKilled: whenever an export is killed, the tree is the old one, the new one, or says that it is neither; and the next
// export makes it whole.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if _, err := Write(dir, cutOf(0), Options{}); err != nil {
		t.Fatal(err)
	}
	unfinished := 0
	for round := range 40 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitMoment(t, dir, round)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		files := filesOf(t, dir)
		maps.DeleteFunc(files, func(path, _ string) bool { return strings.HasPrefix(path, asideName) })
		old, latest := maps.Equal(files, filesOfCut(cutOf(0))), maps.Equal(files, filesOfCut(cutOf(1)))
		switch _, err := Check(dir); {
		case errors.Is(err, ErrUnfinished):
			unfinished++
		case err != nil:
			t.Fatalf("round %d: %v", round, err)
		case !old && !latest:
			t.Fatalf("round %d: the tree looks whole, and has files of both: %d", round, len(files))
		}
		if round%4 == 3 { // otherwise the next one goes on with what there is
			if _, err := Write(dir, cutOf(round/4%2), Options{}); err != nil {
				t.Fatal(err)
			}
			if got := filesOf(t, dir); !maps.Equal(got, filesOfCut(cutOf(round/4%2))) {
				t.Fatalf("round %d: after another export %d files are there", round, len(got))
			}
		}
	}
	if unfinished == 0 {
		t.Error("no kill met the middle of an export")
	}
}

// awaitMoment waits until an export has come to a point that differs from round to round.
func awaitMoment(t *testing.T, dir string, round int) {
	t.Helper()
	for {
		if t.Context().Err() != nil {
			t.Fatal("the export does not come to that point")
		}
		if round%2 == 0 {
			if entries, err := os.ReadDir(filepath.Join(dir, asideName)); err == nil && len(entries) > 4*round {
				return
			}
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, IndexName)); err == nil && strings.Contains(string(text), stateMoving) {
			return
		}
	}
}

func TestWriteLeavesAlone(t *testing.T) {
	foreign := func(t *testing.T, dir string) {
		path := filepath.Join(dir, "shop", "configmap", "c-001.yaml")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x.yaml"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := indexHead + indexFormat + "\nselection everything\n" + stateWhole + "\n"
	for name, prepare := range map[string]func(*testing.T, string){
		"a file of somebody else": foreign,
		"a link out of the directory": func(t *testing.T, dir string) {
			if err := os.Symlink(outside, filepath.Join(dir, "shop")); err != nil {
				t.Fatal(err)
			}
		},
		"an index that lists what is outside": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(head+"../x.yaml\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"an index that lists a file of git": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(head+".git/config\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"an index that is cut": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(head[:len(head)-4]), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(t, dir)
			before := filesOf(t, dir)
			if _, err := Write(dir, cutOf(0), Options{}); !errors.Is(err, ErrDirectory) {
				t.Errorf("%v", err)
			}
			if !maps.Equal(before, filesOf(t, dir)) {
				t.Error("something was changed")
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(outside, "x.yaml")); err != nil || string(text) != "mine" {
		t.Errorf("%s, %v", text, err)
	}
}

// TestUnreadIsKept: of what could not be read nobody knows that it is gone.
func TestUnreadIsKept(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, cutOf(0), Options{}); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	for _, unread := range []string{"configmap", "*."} {
		c := &Cut{unread: []string{unread}}
		written, err := Write(dir, c, Options{})
		if err != nil || written.Kept != len(before) || !maps.Equal(before, filesOf(t, dir)) {
			t.Errorf("%s: %+v, %v", unread, written, err)
		}
	}
	if written, err := Write(dir, &Cut{unread: []string{"configmap.example.com"}}, Options{}); err != nil || written.Removed != len(before) {
		t.Errorf("%+v, %v", written, err)
	}
}

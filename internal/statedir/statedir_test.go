// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package statedir

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPathPrecedence(t *testing.T) {
	home, xdg, own := t.TempDir(), t.TempDir(), t.TempDir()
	for _, tc := range []struct {
		name, own, xdg, want string
	}{
		{"home", "", "", filepath.Join(home, ".local", "state", "refit")},
		{"xdg", "", xdg, filepath.Join(xdg, "refit")},
		{"relative xdg is ignored", "", "state", filepath.Join(home, ".local", "state", "refit")},
		{"own", own, xdg, own},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("HOME", home)
			t.Setenv("XDG_STATE_HOME", tc.xdg)
			t.Setenv(Env, tc.own)
			got, err := Path("runs", "r1")
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(tc.want, "runs", "r1"); got != want {
				t.Errorf("Path = %s, want %s", got, want)
			}
			info, err := os.Stat(filepath.Dir(got))
			if err != nil {
				t.Fatal(err)
			}
			if perm := info.Mode().Perm(); perm != 0o700 {
				t.Errorf("parent has mode %o, want 700", perm)
			}
			if _, err := os.Stat(got); !os.IsNotExist(err) {
				t.Errorf("the last element was created")
			}
		})
	}
}

func TestPathSaysHowToMoveTheState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, file)
	if _, err := Path("runs", "r1"); err == nil {
		t.Fatal("want an error: the state directory is a file")
	}
}

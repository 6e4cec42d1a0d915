// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// removeEnv has the test's program remove a machine instead, as a process that is killed.
const removeEnv = "REFIT_TEST_LAB_REMOVE"

func TestMain(m *testing.M) {
	id := os.Getenv(removeEnv)
	if id == "" {
		os.Exit(m.Run())
	}
	l, err := read("x")
	if err == nil {
		l.engine = &engine{}
		err = l.takeAway(context.Background(), id, nil)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// scriptedDocker has a file for each container, with what ps says of it, and kills its caller when it is asked to remove
// one: before that or after it, as the file "kill" says.
const scriptedDocker = `#!/bin/sh
cd "$(dirname "$0")/containers" || exit 1
for word; do
	case $word in name=^*) only=${word#name=^} only=${only%$} ;; --format) ;; {{*) format=$word ;; esac
	last=$word
done
case $1 in
ps)
	for name in ${only:-*}; do
		[ -e "$name" ] || continue
		case $format in *ID*) echo "id-$name $name $(cat "$name")" ;; *) cat "$name" ;; esac
	done ;;
rm)
	when=$(cat ../kill)
	[ "$when" != before ] || { kill -9 "$PPID"; exit; }
	rm -f "$last"
	[ "$when" != after ] || kill -9 "$PPID" ;;
esac
`

// TestRemoveKilled kills the removal of a machine that the lab began with, before the engine removes it and right after: the
// next Up finishes that, and makes no machine of the name.
func TestRemoveKilled(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			state, bin := t.TempDir(), t.TempDir()
			t.Setenv("REFIT_STATE_DIR", state)
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			containers := filepath.Join(bin, "containers")
			l := testLab(1)
			var err error
			if l.dir, err = labDir("x"); err != nil {
				t.Fatal(err)
			}
			l.engine = &engine{}
			must(t, os.MkdirAll(l.path("hidden"), 0o755))
			must(t, os.Mkdir(containers, 0o755))
			must(t, os.WriteFile(filepath.Join(bin, "docker"), []byte(scriptedDocker), 0o755))
			must(t, os.WriteFile(filepath.Join(bin, "kill"), []byte(when), 0o600))
			must(t, l.write())
			if _, err := l.writeKeys(); err != nil {
				t.Fatal(err)
			}
			for _, m := range l.Machines() {
				must(t, os.WriteFile(filepath.Join(containers, l.container(m.Name)), []byte("running\n"), 0o600))
			}
			must(t, os.WriteFile(l.path("hidden", "10.213.7.21"), nil, 0o600))

			self, err := os.Executable()
			must(t, err)
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), removeEnv+"=id-"+l.container("w1"))
			out, err := cmd.CombinedOutput()
			if exit, ended := errors.AsType[*exec.ExitError](err); !ended || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("it was not killed: %v: %s", err, out)
			}

			l, err = read("x")
			must(t, err)
			l.engine = &engine{}
			there, err := l.present(t.Context())
			must(t, err)
			i := slices.IndexFunc(there, func(f found) bool { return f.Name == "w1" })
			if stays := when == "before"; stays != (i >= 0) || stays && !there[i].Leaving {
				t.Errorf("present are %+v", there)
			}
			must(t, os.WriteFile(filepath.Join(bin, "kill"), nil, 0o600))
			must(t, l.clean(t.Context(), nil))
			for _, m := range l.Machines() {
				if m.Name == "w1" {
					t.Error("an Up would bring it up again")
				}
			}
			if _, err := os.Stat(filepath.Join(containers, l.container("w1"))); err == nil {
				t.Error("its container is left")
			}
			for _, file := range []string{l.path("hostkeys", "w1"), l.path("hidden", "10.213.7.21")} {
				if _, err := os.Stat(file); err == nil {
					t.Errorf("%s is left", file)
				}
			}
			if text, err := os.ReadFile(l.SSHConfig()); err != nil || strings.Contains(string(text), "Host w1") || !strings.Contains(string(text), "Host w2") {
				t.Errorf("the configuration of ssh: %v\n%s", err, text)
			}
			if got := l.record.Removed; !slices.Equal(got, []string{"w1"}) {
				t.Errorf("removed are %v", got)
			}
			// The name is free, and one who takes it stays.
			n := newcomer()
			n.Name = "w1"
			m, err := l.admit(n)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(containers, l.container(m.Name)), []byte("running\n"), 0o600))
			must(t, l.sweep(t.Context()))
			if state, err := l.state(t.Context(), "w1"); err != nil || state != "running" {
				t.Errorf("the new w1: %q, %v", state, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/host"
	"refit.dev/refit/host/service"
)

// machine is one with files, on which systemd says what it says.
type machine struct {
	host.Machine
	says  string
	files map[string]string
}

func (m machine) Exec(ctx context.Context, argv []string, _ host.ExecOptions) (host.Result, error) {
	if argv[0] == "env" { // looks for files, for real
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		return host.Result{Stdout: out}, err
	}
	return host.Result{Stdout: []byte(m.says)}, nil
}

func (m machine) ReadFile(_ context.Context, path string) ([]byte, error) {
	text, found := m.files[path]
	if !found {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// command is what systemd says of one.
func command(words string) string {
	return "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nNeedDaemonReload=yes\n" +
		"ExecStart={ path=/x ; argv[]=" + words + " ; ignore_errors=no ; start_time=[Mon] ; stop_time=[n/a] ; pid=42 ; code=(null) ; status=0/0 }\n"
}

func TestLook(t *testing.T) {
	m := machine{
		says: command("/x --a=1 $ALL --p=${PORT}/x $$HOME ${NONE} --b=$PORT") +
			"Environment=PORT=1 \"ALL=--c=1 --d 2\" UNUSED=x\nEnvironmentFiles=/etc/default/x (ignore_errors=yes)\nEnvironmentFiles=/etc/default/gone (ignore_errors=yes)\n",
		files: map[string]string{"/etc/default/x": "# a comment\nPORT = 2\nALL='--e \"two words\"'\n; another\n"},
	}
	s, err := service.Look(t.Context(), m, "x")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/x", "--a=1", "--e", "two words", "--p=2/x", "$HOME", "", "--b=$PORT"}
	if !slices.Equal(s.Argv, want) {
		t.Errorf("got %q, want %q", s.Argv, want)
	}
	if !s.Runs() || s.PID != 42 || !s.NeedsReload || s.Name != "x.service" {
		t.Errorf("%+v", s)
	}
}

func TestLookAtNothing(t *testing.T) {
	s, err := service.Look(t.Context(), machine{says: "LoadState=not-found\nActiveState=inactive\nMainPID=0\n"}, "x")
	if err != nil || s.Loaded || s.Runs() || s.Argv != nil {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = service.Look(t.Context(), machine{says: "LoadState=loaded\nExecStart={ something else }\n"}, "x")
	if err == nil || !strings.Contains(err.Error(), "which is not understood") {
		t.Errorf("got %v", err)
	}
}

// What is executed counts, not what it is told it is called; and a word that looks like the end of
// the command is none.
func TestLookAtCommands(t *testing.T) {
	for text, want := range map[string][]string{
		"{ path=/usr/bin/env ; argv[]=/x --a ; ignore_errors=no ; pid=1 }": {"/usr/bin/env", "--a"},
		"{ path=/x ; argv[]=/x --a ; --b ; ignore_errors=no ; pid=1 }":     {"/x", "--a", ";", "--b"},
	} {
		s, err := service.Look(t.Context(), machine{says: "LoadState=loaded\nExecStart=" + text + "\n"}, "x")
		if err != nil || !slices.Equal(s.Argv, want) {
			t.Errorf("%s: %q, %v", text, s.Argv, err)
		}
	}
}

// Environment files may be named by patterns, and have values over several lines, see
// systemd.exec(5).
func TestLookAtEnvironment(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"b.env": "ALL=\"--a=1 \\\n --b=2\n --c=\\$x\"  \nONE = --d=\\\n4  \n", "a.env": "ONE=before\nTWO='--e=5'\" --f=6\"\n# ALL=no\n; ALL=no\nodd\n", "c.txt": "ONE=no\n",
	}
	m := machine{says: command("/x $ALL $ONE $TWO") + "EnvironmentFiles=" + dir + "/*.env (ignore_errors=no)\n", files: map[string]string{}}
	for name, text := range files {
		path := filepath.Join(dir, name)
		m.files[path] = text
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := service.Look(t.Context(), m, "x")
	want := []string{"/x", "--a=1", "--b=2", "--c=$x", "--d=4", "--e=5", "--f=6"}
	if err != nil || !slices.Equal(s.Argv, want) {
		t.Errorf("got %q, %v, want %q", s.Argv, err, want)
	}
}

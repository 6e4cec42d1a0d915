// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"io/fs"
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

func (m machine) Exec(context.Context, []string, host.ExecOptions) (host.Result, error) {
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
	return "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nNRestarts=3\nNeedDaemonReload=yes\nFragmentPath=/etc/systemd/system/x.service\n" +
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
	if !s.Runs() || s.PID != 42 || s.Restarts != 3 || !s.NeedsReload || s.File != "/etc/systemd/system/x.service" || s.Name != "x.service" {
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

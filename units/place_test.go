// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"refit.dev/refit/host"
)

// shell runs commands for real, as this user.
type shell struct{ host.Machine }

func (shell) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = opts.Stdin
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ran := errors.AsType[*exec.ExitError](err); ran {
		return host.Result{Code: exit.ExitCode(), Stderr: []byte(errs.String())}, nil
	}
	return host.Result{Stdout: []byte(out.String()), Stderr: []byte(errs.String())}, err
}

const (
	sumOfOld   = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4" // of "old"
	sumOfNew   = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437" // of "new"
	sumOfOther = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa" // of "other"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// The scripts do what they say with real files, once and again.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	u := Unit{Component: Kubelet, Program: filepath.Join(dir, "kubelet")}
	if err := os.WriteFile(u.Program, []byte("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, m, b := t.Context(), shell{}, Binary{Version: "v1.37.2", SHA256: sumOfNew}
	content := func(text string) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	if err := Stage(ctx, m, u, b, content("other")); err == nil || !strings.Contains(err.Error(), "what arrived has the sum "+sumOfOther) {
		t.Errorf("something else arrived: %v", err)
	}
	if there, err := Staged(ctx, m, u, b); there || err != nil {
		t.Errorf("staged although it is something else: %t, %v", there, err)
	}
	if err := put(ctx, m, u, b); err == nil || read(t, u.Program) != "old" {
		t.Errorf("put without anything staged: %v, %q", err, read(t, u.Program))
	}
	if err := Stage(ctx, m, u, b, content("new")); err != nil {
		t.Fatal(err)
	}
	if there, err := Staged(ctx, m, u, b); !there || err != nil {
		t.Errorf("staged: %t, %v", there, err)
	}
	for range 2 {
		if err := put(ctx, m, u, b); err != nil || read(t, u.Program) != "new" || read(t, keptPath(u.Program, b.Version)) != "old" {
			t.Errorf("put: %v, %q, kept %q", err, read(t, u.Program), read(t, keptPath(u.Program, b.Version)))
		}
	}
	if info, err := os.Stat(u.Program); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := back(ctx, m, u, b, "run", "it dies"); err != nil || read(t, u.Program) != "old" {
			t.Errorf("back: %v, %q", err, read(t, u.Program))
		}
	}
	// What was rolled back is known as such, in its own run.
	for run, want := range map[string]placed{
		"run":     {sum: sumOfOld, staged: true, refused: true, why: "it dies"},
		"another": {sum: sumOfOld, staged: true},
	} {
		r := Raise{Machine: m, Binary: b, Run: run}
		if got, err := r.place(ctx, u); err != nil || got != want {
			t.Errorf("for %s: %+v, %v", run, got, err)
		}
	}
	if err := forgive(ctx, m, u, b); err != nil {
		t.Fatal(err)
	}
	if got, err := (&Raise{Machine: m, Binary: b, Run: "run"}).place(ctx, u); err != nil || got.refused {
		t.Errorf("forgiven: %+v, %v", got, err)
	}
	if err := put(ctx, m, u, b); err != nil || read(t, u.Program) != "new" {
		t.Errorf("put again: %v, %q", err, read(t, u.Program))
	}
	if err := forget(ctx, m, u, b); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("left are %q, %v", names, err)
	}
	if err := os.Remove(keptPath(u.Program, b.Version)); err != nil {
		t.Fatal(err)
	}
	if err := back(ctx, m, u, b, "run", "it dies"); err == nil || read(t, u.Program) != "new" {
		t.Errorf("back without anything kept: %v, %q", err, read(t, u.Program))
	}
}

// A machine that stops in the middle of putting a file into its place has left links; who
// repeats it is not confused by them.
func TestPutCutOff(t *testing.T) {
	for name, left := range map[string][][2]string{
		"kept":           {{"kubelet", "kubelet.before-v1.37.2"}},
		"kept and aside": {{"kubelet", "kubelet.before-v1.37.2"}, {"kubelet.v1.37.2", "kubelet.refit"}},
		"of an earlier":  {{"other", "kubelet.before-v1.37.2"}, {"other", "kubelet.refit"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"kubelet": "old", "kubelet.v1.37.2": "new", "other": "other"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, link := range left {
				if err := os.Link(filepath.Join(dir, link[0]), filepath.Join(dir, link[1])); err != nil {
					t.Fatal(err)
				}
			}
			u := Unit{Component: Kubelet, Program: filepath.Join(dir, "kubelet")}
			b := Binary{Version: "v1.37.2", SHA256: sumOfNew}
			if err := put(t.Context(), shell{}, u, b); err != nil {
				t.Fatal(err)
			}
			if read(t, u.Program) != "new" || read(t, u.Program+".before-v1.37.2") != "old" || read(t, u.Program+".refit") != "" {
				t.Errorf("%q, kept %q, aside %q", read(t, u.Program), read(t, u.Program+".before-v1.37.2"), read(t, u.Program+".refit"))
			}
		})
	}
}

// What is at a path is told with real files: no program is executed for it.
func TestLookScript(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "real"), 0o755),
		os.WriteFile(filepath.Join(dir, "real", "kubelet"), []byte("\x7fELF and more"), 0o755),
		os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\ntouch "+dir+"/executed\n"), 0o755),
		os.Symlink("real", filepath.Join(dir, "current")),
		os.Symlink("real/kubelet", filepath.Join(dir, "kubelet")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	pid := strconv.Itoa(os.Getpid())
	for _, c := range []struct{ path, pid, want string }{
		{filepath.Join(dir, "real", "kubelet"), "0", "elf\n"},
		{filepath.Join(dir, "kubelet"), "0", "link\nelf\n"},
		{filepath.Join(dir, "current", "kubelet"), "0", "link\nelf\n"},
		{filepath.Join(dir, "script"), "0", ""},
		{filepath.Join(dir, "gone"), "0", ""},
		{filepath.Join(dir, "script"), pid, "runs " + self + "\n"},
		{self, pid, "elf\nfresh\nruns " + self + "\n"},
	} {
		got, err := (&reader{m: shell{}}).text(t.Context(), "sh", "-c", lookScript, "sh", c.path, c.pid)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.path, got, err, c.want)
		}
	}
	if read(t, filepath.Join(dir, "executed")) != "" {
		t.Error("the script was executed")
	}
}

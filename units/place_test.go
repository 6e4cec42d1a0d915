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
		if err := back(ctx, m, u, b); err != nil || read(t, u.Program) != "old" {
			t.Errorf("back: %v, %q", err, read(t, u.Program))
		}
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
	if err := back(ctx, m, u, b); err == nil || read(t, u.Program) != "new" {
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

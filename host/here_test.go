// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestExecHere(t *testing.T) {
	m := Here(nil)
	var lines []string
	result, err := m.Exec(t.Context(), []string{"sh", "-c", `cat; echo "$A" >&2; exit 3`}, ExecOptions{
		Stdin: strings.NewReader("in\n"), Env: []string{"A=x y$HOME"}, Output: func(line string) { lines = append(lines, line) },
	})
	if err != nil || result.Code != 3 || string(result.Stdout) != "in\n" || string(result.Stderr) != "x y$HOME\n" || result.Cut != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	slices.Sort(lines)
	if !slices.Equal(lines, []string{"in", "x y$HOME"}) {
		t.Errorf("lines %q", lines)
	}
	for _, argv := range [][]string{nil, {"a\x00"}, {"A=b"}} {
		if _, err := m.Exec(t.Context(), argv, ExecOptions{}); !errors.Is(err, ErrNotStarted) {
			t.Errorf("%q: got %v", argv, err)
		}
	}
	if result, err := m.Exec(t.Context(), []string{"/does/not/exist"}, ExecOptions{}); err != nil || result.Code != 127 {
		t.Errorf("got %+v, %v", result, err)
	}
	if result, err := m.Exec(t.Context(), []string{"sh", "-c", "kill -9 $$"}, ExecOptions{}); err != nil || result.Code != -1 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestExecKeepsTheTail(t *testing.T) {
	result, err := Here(nil).Exec(t.Context(), []string{"sh", "-c", "head -c 5000000 /dev/zero; echo end"}, ExecOptions{})
	if err != nil || len(result.Stdout) != MaxOutput || !strings.HasSuffix(string(result.Stdout), "\x00end\n") || result.Cut != 5000004-MaxOutput {
		t.Errorf("got %d bytes, %d cut, %v", len(result.Stdout), result.Cut, err)
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err := Here(nil).Exec(ctx, []string{"sh", "-c", "echo up; exec sleep 600"}, ExecOptions{Output: func(string) { cancel(enough) }})
	if !errors.Is(err, enough) || errors.Is(err, ErrNotStarted) {
		t.Errorf("got %v", err)
	}
	if _, err := Here(nil).Exec(ctx, []string{"true"}, ExecOptions{}); !errors.Is(err, enough) || !errors.Is(err, ErrNotStarted) {
		t.Errorf("got %v", err)
	}
}

func TestRunHere(t *testing.T) {
	m := Here([]string{"REFIT_NODE=node 1"})
	var lines []string
	err := m.Run(t.Context(), `echo "$REFIT_NODE"; printf 'no end'; exit 4`, func(line string) { lines = append(lines, line) })
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 4 || !slices.Equal(lines, []string{"node 1", "no end"}) {
		t.Errorf("got %q, %v", lines, err)
	}
}

// What ends with the context is ended on the machine as well, with its children.
func TestRunHereIsStopped(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	command := `trap '' TERM; sleep 600 & echo $! $$ >` + pids + `; echo up; wait; sleep 600`
	err := Here(nil).Run(ctx, command, func(string) { cancel(enough) })
	if !errors.Is(err, enough) || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("got %v", err)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		waitGone(t, pid)
	}
}

func TestFilesHere(t *testing.T) {
	m, dir := Here(nil), t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		name := filepath.Join(dir, rapid.SampledFrom([]string{"a", "-n", "a b", "$(id)", "x\ny", "'", "\\"}).Draw(rt, "name"))
		data := rapid.SliceOf(rapid.Byte()).Draw(rt, "data")
		mode := fs.FileMode(rapid.SampledFrom([]uint32{0o600, 0o644, 0o400, 0o755}).Draw(rt, "mode"))
		if err := m.WriteFile(t.Context(), name, data, mode); err != nil {
			rt.Fatal(err)
		}
		got, err := m.ReadFile(t.Context(), name)
		if err != nil || !bytes.Equal(got, data) {
			rt.Fatalf("got %q, %v, want %q", got, err, data)
		}
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			rt.Fatalf("mode %v, %v, want %v", info.Mode(), err, mode)
		}
	})
}

func TestFilesHereFail(t *testing.T) {
	m, dir := Here(nil), t.TempDir()
	if _, err := m.ReadFile(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := m.ReadFile(t.Context(), dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: got %v", err)
	}
	if err := m.WriteFile(t.Context(), dir, nil, 0o600); err == nil {
		t.Error("a directory was overwritten")
	}
	for _, name := range []string{"", "a", "/", "/a/../b", "/a/", "/a\x00"} {
		if _, err := m.ReadFile(t.Context(), name); err == nil {
			t.Errorf("%q was read", name)
		}
		if err := m.WriteFile(t.Context(), name, nil, 0o600); err == nil {
			t.Errorf("%q was written", name)
		}
	}
	if err := m.WriteFile(t.Context(), filepath.Join(dir, "a"), nil, fs.ModeSetuid|0o755); err == nil {
		t.Error("a set-uid file was written")
	}
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(t.Context(), link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "old" {
		t.Errorf("the link was followed: %q, %v", data, err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadFile(t.Context(), big); err == nil {
		t.Error("too large a file was read")
	}
	if entries, err := filepath.Glob(filepath.Join(dir, ".refit-*")); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %q, %v", entries, err)
	}
}

func TestBootIDHere(t *testing.T) {
	want, err := os.ReadFile(bootIDFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Here(nil).BootID(t.Context())
	if err != nil || got != strings.TrimSpace(string(want)) || len(got) != 36 {
		t.Errorf("got %q, %v", got, err)
	}
}

// shortInput is an input that breaks off, as a connection would: less arrives than
// was announced.
type shortInput struct{ Transport }

func (s shortInput) Do(ctx context.Context, c Command) (int, error) {
	if c.Stdin != nil {
		c.Stdin = strings.NewReader("half")
	}
	return s.Transport.Do(ctx, c)
}

func TestWriteFileOfWhichHalfArrives(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Over(shortInput{here{}}, nil).WriteFile(t.Context(), name, []byte("half and half"), 0o600)
	if err == nil || !strings.Contains(err.Error(), "only 4 of 13 bytes arrived") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "old" {
		t.Errorf("got %q, %v", data, err)
	}
}

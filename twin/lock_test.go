// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"refit.dev/refit/internal/hint"
)

// held makes the file name of a twin that is made for the test, with a lock on it
// until the test ends.
func held(t *testing.T, tw *Twin, name, content string, lock func(string) (*os.File, error)) {
	t.Helper()
	if err := os.MkdirAll(tw.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tw.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := lock(tw.path(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

func TestSupervisorLock(t *testing.T) {
	for _, c := range []struct {
		content string
		pid     int
		garbage bool
	}{
		{"4711\n", 4711, false}, {"", 0, false}, {"\n", 0, false}, // the last two: not written yet
		{"4711 4712\n", 0, true}, {"nonsense", 0, true}, {"0\n", 0, true}, {"-1\n", 0, true},
	} {
		tw := newTwin(t.TempDir(), "held")
		held(t, tw, "supervisor.lock", c.content, tryLock)
		pid, err := tw.supervisorPID()
		if pid != c.pid || (err != nil) != c.garbage {
			t.Errorf("%q: %d, %v", c.content, pid, err)
		}
		if c.garbage && (!strings.Contains(err.Error(), tw.path("supervisor.lock")) || !strings.Contains(hint.Of(err), "fuser")) {
			t.Errorf("%q: %v, hint %q", c.content, err, hint.Of(err))
		}
		if pid, err := tw.settledPID(t.Context(), nil); pid != c.pid || (err != nil) != c.garbage {
			t.Errorf("%q: settled as %d, %v", c.content, pid, err)
		}
	}
}

// TestSupervisorThatHangs: one that holds the run lock and never says who it is is
// told of, and waited for as long as the context lasts.
func TestSupervisorThatHangs(t *testing.T) {
	tw := newTwin(t.TempDir(), "hung")
	held(t, tw, "run.lock", "", shareLock)
	held(t, tw, "supervisor.lock", "", tryLock)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	pid, err := tw.settledPID(ctx, func() { cancel(enough) })
	if pid != 0 || !errors.Is(err, enough) || !strings.Contains(hint.Of(err), tw.path("run.lock")) {
		t.Errorf("%d, %v, hint %q", pid, err, hint.Of(err))
	}
}

// TestSupervisorThatStarts: its id comes while it is waited for.
func TestSupervisorThatStarts(t *testing.T) {
	tw := newTwin(t.TempDir(), "starting")
	held(t, tw, "run.lock", "", shareLock)
	held(t, tw, "supervisor.lock", "", tryLock)
	pid, err := tw.settledPID(t.Context(), func() {
		if err := os.WriteFile(tw.path("supervisor.lock"), []byte("4711\n"), 0o600); err != nil {
			t.Error(err)
		}
	})
	if pid != 4711 || err != nil {
		t.Errorf("%d, %v", pid, err)
	}
}

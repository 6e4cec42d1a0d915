// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestMaintain is the command line of maintain and runs: what goes where, and
// with which exit code. What a run does is tested in package run.
func TestMaintain(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 3})
	t.Setenv("KUBECONFIG", tw.MaintainerKubeconfig())
	t.Setenv(statedir.Env, t.TempDir())

	steps := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{"no runs yet", []string{"runs"}, exitDone, "RUN", ""},
		{"nothing to show", []string{"runs", "show"}, exitUsage, "", "there were no runs yet"},
		{"nothing to resume", []string{"runs", "resume"}, exitUsage, "", "error: no run is unfinished"},
		{"no node", []string{"maintain", "--reboot"}, exitUsage, "", "no nodes were named"},
		{"unknown node", []string{"maintain", "node-01", "node-09", "--reboot", "--yes"}, exitUsage, "", "unknown node: node-09"},
		{"named twice", []string{"maintain", "node-01", "node-01", "--reboot", "--yes"}, exitUsage, "", "node node-01 is given twice"},
		{"nothing matches", []string{"maintain", "-l", "a=b", "--reboot", "--yes"}, exitUsage, "", "no node matches"},
		{"percentage", []string{"maintain", "--all", "--reboot", "--max-unavailable", "200%"}, exitUsage, "", `--max-unavailable "200%"`},
		{"failures", []string{"maintain", "--all", "--reboot", "--max-failures", "-1"}, exitUsage, "", "--max-failures"},
		{"timeout", []string{"maintain", "--all", "--reboot", "--drain-timeout", "0s"}, exitUsage, "", "--drain-timeout"},
		{"nothing to do", []string{"maintain", "--all", "--yes"}, exitUsage, "", "--command CMD or --reboot"},
		{"dry run", []string{"maintain", "--all", "--reboot", "--dry-run"}, exitDone, "maintain 3 nodes of 3", ""},
		{"nobody to ask", []string{"maintain", "--all", "--reboot"}, exitUsage, "", "--yes"},
		{"fails", []string{"maintain", "node-01", "--command", "echo out of $REFIT_NODE; exit 7", "--yes"}, exitFailed, "node/node-01 failed", "| out of node-01"},
		{"is listed", []string{"runs", "list"}, exitDone, "stopped", ""},
		{"is shown", []string{"runs", "show"}, exitDone, "exited with status 7", "hint: carry on: refit runs resume"},
		{"is warned of", []string{"maintain", "node-01", "--reboot", "--dry-run=client"}, exitDone, "has cordoned node-01 and not", ""},
		{"bad policy", []string{"runs", "resume", "--on-unknown-command", "guess"}, exitUsage, "", "stop, rerun or done"},
		{"fails again", []string{"runs", "resume"}, exitFailed, "node/node-01 failed", ""},
		{"is in the way", []string{"maintain", "node-02", "--reboot", "--yes"}, exitBlocked, "", "node-01 (cordoned by run"},
		{"is aborted", []string{"runs", "abort"}, exitDone, "node/node-01 uncordoned", "1 node uncordoned"},
		{"once only", []string{"runs", "abort"}, exitUsage, "", "error: no run is unfinished"},
		{"works", []string{"maintain", "node-02", "--reboot", "--yes"}, exitDone, "node/node-02 maintained", "1 of 1 node maintained"},
		{"unknown run", []string{"runs", "show", "20260101-000000-0000"}, exitUsage, "", "hint: refit runs list"},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) {
			out, errw, code := refit(t, s.args...)
			if code != s.code || !strings.Contains(out, s.stdout) || !strings.Contains(errw, s.stderr) {
				t.Errorf("exit %d, want %d; stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", code, s.code, s.stdout, out, s.stderr, errw)
			}
		}) {
			break // they build on each other
		}
	}

	t.Run("events", func(t *testing.T) {
		out, _, code := refit(t, "maintain", "node-01", "node-03", "--reboot", "--yes", "-o", "json")
		events := decodeEvents(t, out)
		last := events[len(events)-1]
		if code != exitDone || events[0].Type != event.RunStarted || last.Type != event.Summary || last.Result != event.ResultDone || last.Counts == nil {
			t.Errorf("exit %d:\n%s", code, out)
		}
		if slices.ContainsFunc(events, func(e event.Event) bool { return e.Run == "" }) {
			t.Errorf("events of no run:\n%s", out)
		}
		again, _, code := refit(t, "runs", "resume", last.Run, "-o", "json")
		if e := decodeEvents(t, again); code != exitDone || len(e) != 1 || !strings.Contains(e[0].Message, "nothing left to do") {
			t.Errorf("exit %d:\n%s", code, again)
		}
		shown, _, code := refit(t, "runs", "show", last.Run, "-o", "json")
		var status run.Status
		if err := json.Unmarshal([]byte(shown), &status); err != nil || code != exitDone || status.Phase != run.PhaseFinished || status.Count(run.Maintained) != 2 {
			t.Errorf("exit %d, %v:\n%s", code, err, shown)
		}
		listed, _, code := refit(t, "runs", "-o", "json")
		var list struct{ Runs []run.Status }
		if err := json.Unmarshal([]byte(listed), &list); err != nil || code != exitDone || len(list.Runs) != 3 {
			t.Errorf("exit %d, %v:\n%s", code, err, listed)
		}
	})

	t.Run("another run has the lock", func(t *testing.T) {
		done := make(chan int)
		fifo := filepath.Join(t.TempDir(), "go")
		go func() {
			_, _, code := refit(t, "maintain", "node-01", "--command", "touch "+fifo+".begun; until test -e "+fifo+"; do sleep 0.05; done", "--yes")
			done <- code
		}()
		waitForFile(t, fifo+".begun")
		for _, args := range [][]string{
			{"maintain", "node-02", "--reboot", "--yes", "--max-unavailable", "2"},
			{"runs", "resume"},
			{"runs", "abort"},
		} {
			if _, errw, code := refit(t, args...); code != exitLocked || !strings.Contains(errw, "hint: ") {
				t.Errorf("%v: exit %d, stderr %s", args, code, errw)
			}
		}
		if out, _, _ := refit(t, "runs", "list"); !strings.Contains(out, "running") {
			t.Errorf("the run is not shown as running:\n%s", out)
		}
		if err := os.WriteFile(fifo, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if code := <-done; code != exitDone {
			t.Errorf("exit %d", code)
		}
	})

	t.Run("a login in the URL of the server", func(t *testing.T) {
		state := t.TempDir()
		t.Setenv(statedir.Env, state)
		text, err := os.ReadFile(tw.MaintainerKubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		config, plain := filepath.Join(t.TempDir(), "config"), filepath.Join(t.TempDir(), "plan")
		if err := os.WriteFile(config, bytes.ReplaceAll(text, []byte("server: https://"), []byte("server: https://adm:hunter2@")), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errw, code := refit(t, "maintain", "node-01", "--reboot", "--out", plain); code != exitDone {
			t.Fatalf("plan without the login: exit %d, stderr %s", code, errw)
		}
		for _, args := range [][]string{
			{"maintain", "node-01", "--reboot", "--out", "-"},
			{"maintain", "--plan", plain, "--yes"}, // it is the same cluster
			{"runs", "show"},
			{"runs", "list", "-o", "json"},
			{"runs", "report", "--out", "-"},
		} {
			out, errw, code := refit(t, append(args, "--kubeconfig", config)...)
			if code != exitDone || out == "" || strings.Contains(out+errw, "hunter2") {
				t.Errorf("%v: exit %d, stdout\n%s\nstderr\n%s", args, code, out, errw)
			}
		}
		files := 0
		if err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte("hunter2")) {
				t.Errorf("%s has the login", path)
			}
			return err
		}); err != nil || files == 0 {
			t.Errorf("%d files, %v", files, err)
		}
	})

	t.Run("a state directory that cannot be written", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(statedir.Env, file)
		_, errw, code := refit(t, "maintain", "node-01", "--reboot", "--yes")
		if code != exitFailed || !strings.Contains(errw, statedir.Env) || !strings.Contains(errw, "nothing was changed") {
			t.Errorf("exit %d, stderr %s", code, errw)
		}
	})
}

func decodeEvents(t *testing.T, text string) []event.Event {
	t.Helper()
	var events []event.Event
	for line := range strings.Lines(text) {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		t.Fatal("no events")
	}
	return events
}

// waitForFile waits until another process has made a file.
func waitForFile(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := clock.RealClock{}.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			t.Fatalf("%s does not appear", path)
		}
	}
}

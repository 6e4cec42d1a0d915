// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"refit.dev/refit/internal/statedir"
)

const reportedRun = "20261122-150405-abcd"

// journal writes a run of two nodes, one of which is done, as a process that was
// killed leaves it: the last line is torn.
func journal(t *testing.T, state string) {
	t.Helper()
	dir := filepath.Join(state, "runs", reportedRun)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, body := range []string{
		`"time":"2026-11-22T15:04:05Z","kind":"created","spec":{"run":"` + reportedRun + `","created":"2026-11-22T15:04:05Z","cluster":{"server":"https://s"},` +
			`"nodes":[{"name":"a","uid":"1"},{"name":"b","uid":"2"}],"reboot":true,"maxUnavailable":"1","maxFailures":0,"drain":{"ignoreDaemonSets":true},` +
			`"timeouts":{"drain":"1h","ready":"15m","recover":"15m","stall":"10m"}}`,
		`"time":"2026-11-22T15:04:06Z","kind":"opened","process":{"pid":1,"host":"h"}`,
		`"time":"2026-11-22T15:04:07Z","kind":"step","node":"a","step":"cordon","state":"intent"`,
		`"time":"2026-11-22T15:04:08Z","kind":"step","node":"a","step":"cordon","state":"done"`,
		`"time":"2026-11-22T15:04:08Z","kind":"node-done","node":"a"`,
		`"time":"2026-11-22T15:04:09Z","kind":"step","node":"b","step":"cordon","state":"intent"`,
	} {
		line := fmt.Sprintf(`{"seq":%d,%s}`, i+1, body)
		sum := crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli))
		fmt.Fprintf(&b, "%s,\"crc\":\"%08x\"}\n", line[:len(line)-1], sum)
	}
	b.WriteString(`{"seq":7,`)
	if err := os.WriteFile(filepath.Join(dir, "journal.ndjson"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	history := `{"time":"2026-11-22T15:04:06Z","type":"run-started","slots":1}
{"time":"2026-11-22T15:04:07Z","type":"warning","node":"a","message":"beware of <b>"}
{"time":"2026-11-22T15:04`
	if err := os.WriteFile(filepath.Join(dir, "history.ndjson"), []byte(history), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunsReport(t *testing.T) {
	state := t.TempDir()
	t.Setenv(statedir.Env, state)
	t.Chdir(t.TempDir())

	out, errw, code := refit(t, "runs", "report")
	if code != exitUsage || out != "" || !strings.Contains(errw, "there were no runs yet") {
		t.Errorf("without runs: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	journal(t, state)
	out, errw, code = refit(t, "runs", "report", "20000101-000000-0000")
	if code != exitUsage || out != "" || !strings.Contains(errw, "refit runs list shows the runs") {
		t.Errorf("unknown: exit %d, stdout %q, stderr %q", code, out, errw)
	}

	out, errw, code = refit(t, "runs", "report", reportedRun)
	path, err := filepath.Abs("refit-" + reportedRun + ".html")
	if err != nil {
		t.Fatal(err)
	}
	if code != exitDone || out != path+"\n" || errw != "" {
		t.Errorf("exit %d, stdout %q, stderr %q, want %q", code, out, errw, path)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<!DOCTYPE html>", "1 of 2 nodes maintained", "interrupted", "beware of &lt;b&gt;", "1 line of the run&#39;s history could not be read"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want a file for its user alone", info.Mode(), err)
	}

	out, _, code = refit(t, "runs", "report", "--out", "-")
	if code != exitDone || out != string(page) {
		t.Errorf("--out -: exit %d, %d bytes, want the page of the newest run, %d bytes", code, len(out), len(page))
	}
	out, _, code = refit(t, "runs", "report", "--out", "other.html", "-o", "json")
	var data struct{ Run, Path string }
	if err := json.Unmarshal([]byte(out), &data); err != nil || code != exitDone || data.Run != reportedRun || data.Path != filepath.Join(filepath.Dir(path), "other.html") {
		t.Errorf("-o json: exit %d, %q, %v", code, out, err)
	}
	if got, err := os.ReadFile("other.html"); err != nil || !bytes.Equal(got, page) {
		t.Errorf("%d bytes, %v: want the same page", len(got), err)
	}

	// A process was killed while it wrote the plan: the report does without.
	if err := os.WriteFile(filepath.Join(state, "runs", reportedRun, "plan.json"), []byte(`{"lowerBound`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code = refit(t, "runs", "report", "--out", "-")
	if code != exitDone || !strings.Contains(out, "What was planned is missing here") || !strings.Contains(out, "1 of 2 nodes maintained") {
		t.Errorf("a torn plan: exit %d, %d bytes", code, len(out))
	}

	_, errw, code = refit(t, "runs", "report", "--out", "-", "-o", "json")
	if code != exitUsage || !strings.Contains(errw, "--out -") {
		t.Errorf("--out - -o json: exit %d, stderr %q", code, errw)
	}
	_, errw, code = refit(t, "runs", "report", "--out", "missing/report.html")
	if code != exitFailed || !strings.Contains(errw, "write the report") || !strings.Contains(errw, "hint: name another file with --out") {
		t.Errorf("a directory that is missing: exit %d, stderr %q", code, errw)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	_, errw, code = refit(t, "runs", "report", "--out", "pipe")
	if info, err := os.Stat("pipe"); err != nil || info.Mode().IsRegular() || code != exitFailed || !strings.Contains(errw, "pipe is not a regular file") {
		t.Errorf("what is no file: %v, %v, exit %d, stderr %q", info.Mode(), err, code, errw)
	}
	if left, err := filepath.Glob(".refit-report-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

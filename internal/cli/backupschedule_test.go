// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/vault/timer"
)

// underSystemd is this machine with a systemd that has dir for its units.
type underSystemd struct {
	host.Machine

	dir    string
	asked  []string // with the units that were there
	answer host.Result
}

func (m *underSystemd) Exec(ctx context.Context, argv []string, o host.ExecOptions) (host.Result, error) {
	if argv[0] != "systemctl" {
		return m.Machine.Exec(ctx, argv, o)
	}
	entries, err := os.ReadDir(m.dir)
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	m.asked = append(m.asked, strings.Join(argv[1:], " ")+", with "+strings.Join(there, " "))
	return m.answer, err
}

// TestScheduleInstalled writes the units, and has systemd read them and start the timer, in that order; units of somebody else stay, and
// nothing is written then.
func TestScheduleInstalled(t *testing.T) {
	dir := t.TempDir()
	m := &underSystemd{Machine: host.Here(nil), dir: dir}
	f := &scheduleFlags{unitDir: dir, Schedule: timer.Schedule{Name: "b", OnCalendar: "hourly", Program: "/r", Save: []string{"/r", "backup", "save"}}}
	units, err := f.Units()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	a := &app{IOStreams: genericiooptions.IOStreams{ErrOut: &said}}
	timerFile := filepath.Join(dir, "b.timer")
	if err := os.WriteFile(timerFile, []byte("[Timer]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.installUnits(t.Context(), m, f, units); err == nil || !strings.Contains(err.Error(), "refit has not written it") {
		t.Errorf("a timer of somebody else: %v", err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
	if err := os.Remove(timerFile); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time they are refit's
		if err := a.installUnits(t.Context(), m, f, units); err != nil {
			t.Fatal(err)
		}
	}
	each := []string{"daemon-reload, with b.service b.timer", "enable --now b.timer, with b.service b.timer"}
	if !slices.Equal(m.asked, append(each, each...)) {
		t.Errorf("systemd was asked %q", m.asked)
	}
	for _, u := range units {
		path := filepath.Join(dir, u.Name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != u.Text || info.Mode().Perm() != 0o644 || !strings.Contains(said.String(), path) {
			t.Errorf("%s: %s, %q, %v; it says %q", path, info.Mode(), text, err, said.String())
		}
	}
	m.answer = host.Result{Code: 1, Stderr: []byte("System has not been booted with systemd as init system")}
	if err := a.installUnits(t.Context(), m, f, units); err == nil || !strings.Contains(err.Error(), "has not been booted") || hint.Of(err) == "" {
		t.Errorf("where there is no systemd: %v", err)
	}
}

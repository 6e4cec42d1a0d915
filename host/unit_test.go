// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// What systemctl show says of a service, in the states that it goes through.
const (
	notThere = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainCode=0\nExecMainStatus=0\nMainPID=0\n"
	running  = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nExecMainCode=0\nExecMainStatus=0\nMainPID=42\n"
	exited   = "LoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\nExecMainCode=1\nExecMainStatus=0\nMainPID=0\n"
	failed   = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=100\nMainPID=0\n"
	killed   = "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\nExecMainCode=2\nExecMainStatus=9\nMainPID=0\n"
	starting = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nJob=77\nResult=success\nExecMainCode=0\nExecMainStatus=0\nMainPID=0\n"
	stopped  = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainCode=1\nExecMainStatus=0\nMainPID=0\n"
)

func TestParseUnit(t *testing.T) {
	for text, want := range map[string]string{
		running: "running", exited: "ended with status 0", failed: "ended with status 100", killed: "ended: oom-kill", starting: "running",
	} {
		status, known, err := host.ParseUnit(text)
		if err != nil || !known || status.String() != want || status.OK() != (text == exited) {
			t.Errorf("got %s, %v, %v, want %s", status, known, err, want)
		}
	}
	for _, text := range []string{notThere, stopped} {
		if _, known, err := host.ParseUnit(text); err != nil || known {
			t.Errorf("%q: known %v, %v", text, known, err)
		}
	}
	for _, text := range []string{"", "x", "LoadState=loaded\n", strings.Replace(failed, "=100", "=x", 1)} {
		if _, _, err := host.ParseUnit(text); err == nil {
			t.Errorf("%q was understood", text)
		}
	}
}

var unit = host.Unit{Name: "refit-run-1-node-01-kubeadm", Argv: []string{"kubeadm", "upgrade", "apply", "v1.37.2 $HOME 100%"}, Env: []string{"A=b c"}}

func shows(argv []string) bool { return slices.Equal(argv[:2], []string{"systemctl", "show"}) }
func tails(argv []string) bool { return argv[0] == "tail" }
func follows(argv []string) bool {
	return argv[0] == "timeout" && slices.Contains(argv, "--pid=42")
}
func starts(argv []string) bool { return argv[0] == "systemd-run" }

// wrote is the script of a unit that was started before.
func wrote(m *hosttest.Machine, u host.Unit) {
	m.SetFile("/run/refit/"+u.Name+".sh", u.Script(), 0o600)
}

func TestUnitRuns(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.Always("install", "-d", "-m", "0700", "/run/refit")
	m.ExpectFunc("look", shows).Stdout(notThere)
	m.Expect("test", "-e", "/run/refit/"+unit.Name+".log").Code(1)
	m.ExpectFunc("start", starts).Do(func(argv []string, _ string) {
		// systemd expands "$" and "%": the command is not among what it gets to see.
		if line := strings.Join(argv, " "); strings.ContainsAny(line, "$%") {
			t.Errorf("started by %s", line)
		}
	})
	m.ExpectFunc("look", shows).Stdout(running)
	m.ExpectFunc("follow", follows).Stdout("one\ntwo\n")
	m.ExpectFunc("look", shows).Stdout(exited)
	m.ExpectFunc("rest", func(argv []string) bool { return tails(argv) && argv[2] == "+3" }).Stdout("three\n")
	var lines []string
	status, err := host.RunUnit(t.Context(), m, unit, func(line string) { lines = append(lines, line) }, clock.RealClock{}, nil)
	if err != nil || !status.OK() || !slices.Equal(lines, []string{"one", "two", "three"}) {
		t.Errorf("got %s, %v, %q", status, err, lines)
	}
}

// Another process attaches to what a killed one had started; nothing is started again.
func TestUnitIsAttachedTo(t *testing.T) {
	m := hosttest.New(t, "node-01")
	wrote(m, unit)
	m.ExpectFunc("look", shows).Stdout(failed)
	m.ExpectFunc("output", tails).Stdout("E: no\n")
	status, err := host.RunUnit(t.Context(), m, unit, nil, clock.RealClock{}, nil)
	if err != nil || status.OK() || status.Code != 100 {
		t.Errorf("got %s, %v", status, err)
	}
	other := unit
	other.Argv = []string{"true"}
	m.ExpectFunc("look", shows).Stdout(running)
	if _, err := other.Start(t.Context(), m); !errors.Is(err, host.ErrOtherUnit) {
		t.Errorf("got %v", err)
	}
}

// The connection breaks at every place; the unit is started once, and each line comes once.
func TestUnitOverABreakingConnection(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.Always("install", "-d", "-m", "0700", "/run/refit")
	m.ExpectFunc("look", shows).BreakAfter()
	m.ExpectFunc("look", shows).Stdout(notThere)
	m.Expect("test", "-e", "/run/refit/"+unit.Name+".log").Code(1)
	m.ExpectFunc("start", starts).BreakAfter()
	m.ExpectFunc("look", shows).Stdout(running)
	m.ExpectFunc("follow", follows).Stdout("one\n")
	m.ExpectFunc("look", shows).BreakBefore()
	m.ExpectFunc("look", shows).Stdout(running)
	m.ExpectFunc("follow", func(argv []string) bool { return follows(argv) && slices.Contains(argv, "+2") }).BreakAfter()
	m.ExpectFunc("look", shows).Stdout(exited)
	m.ExpectFunc("rest", func(argv []string) bool { return tails(argv) && argv[2] == "+2" }).Stdout("two\n")
	var lines []string
	lost := 0
	status, err := host.RunUnit(t.Context(), m, unit, func(line string) { lines = append(lines, line) }, clock.RealClock{}, func(error) { lost++ })
	if err != nil || !status.OK() || !slices.Equal(lines, []string{"one", "two"}) || lost != 4 {
		t.Errorf("got %s, %v, %q, lost %d times", status, err, lines, lost)
	}
}

func TestUnitIsLost(t *testing.T) {
	m := hosttest.New(t, "node-01")
	wrote(m, unit)
	m.ExpectFunc("look", shows).Stdout(notThere)
	m.Expect("test", "-e", "/run/refit/"+unit.Name+".log")
	m.ExpectFunc("output", tails).Stdout("one\n")
	status, err := host.RunUnit(t.Context(), m, unit, nil, clock.RealClock{}, nil)
	if err != nil || status.State != host.UnitLost {
		t.Errorf("got %s, %v", status, err)
	}
}

func TestUnitGoesOnWithoutRefit(t *testing.T) {
	m := hosttest.New(t, "node-01")
	wrote(m, unit)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	m.ExpectFunc("look", shows).Stdout(running)
	m.ExpectFunc("follow", follows).Do(func([]string, string) { cancel(enough) })
	_, err := host.RunUnit(ctx, m, unit, nil, clock.RealClock{}, nil)
	if !errors.Is(err, enough) || !strings.Contains(err.Error(), "goes on by itself") {
		t.Errorf("got %v", err)
	}
}

func TestUnitIsRemoved(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.ExpectFunc("look", shows).Stdout(running)
	if err := unit.Remove(t.Context(), m); err == nil || !strings.Contains(err.Error(), "it is running") {
		t.Errorf("got %v", err)
	}
	m.ExpectFunc("look", shows).Stdout(failed)
	m.Expect("systemctl", "stop", "--quiet", "--", unit.Name+".service").Code(5)
	m.Expect("systemctl", "reset-failed", "--quiet", "--", unit.Name+".service")
	m.Expect("rm", "-f", "--", "/run/refit/"+unit.Name+".sh", "/run/refit/"+unit.Name+".log")
	m.ExpectFunc("look", shows).Stdout(notThere)
	m.Expect("test", "-e", "/run/refit/"+unit.Name+".log").Code(1)
	if err := unit.Remove(t.Context(), m); err != nil {
		t.Error(err)
	}
}

func TestUnitNames(t *testing.T) {
	for _, name := range []string{"", "x", "refit-", "refit-a b", "refit-a/b", "refit-a\n", "refit--x", "refit-a@b", "refit-" + strings.Repeat("a", 300)} {
		if _, err := (host.Unit{Name: name, Argv: []string{"true"}}).Start(t.Context(), hosttest.New(t, "x")); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

// The script of a unit runs its command as it is, with its environment.
func TestUnitScript(t *testing.T) {
	u := host.Unit{Name: "refit-x", Argv: []string{"sh", "-c", `printf '%s|' "$A" "$@"`, "sh", "$HOME", "100%", "a\nb"}, Env: []string{"A=it's"}}
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", u.Script()).Output()
	if want := "it's|$HOME|100%|a\nb|"; err != nil || string(out) != want {
		t.Errorf("got %q, %v", out, err)
	}
}

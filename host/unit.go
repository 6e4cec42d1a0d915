// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// Unit is a command that goes on by itself on its machine, as a transient service
// of systemd: neither the loss of the connection nor the death of refit ends it,
// and what came of it is known later by its name. It runs once: see Start.
//
// What belongs to it is under /run/refit, which a reboot clears as it does the
// service: NAME.sh is the command, NAME.log its output.
//
// Wants systemd 240 or newer (Debian 10, RHEL 9), coreutils and root.
type Unit struct {
	// Name is the service's, without ".service": "refit-" and then letters, digits,
	// "-", "_" and "."; at most 200 of them. Who starts it makes it unique for what
	// is done: of the run, the node and the step.
	Name string
	// Description is a line for people who look at the machine.
	Description string
	Argv        []string
	// Env is as in ExecOptions.
	Env []string
}

// UnitState is what became of a Unit.
type UnitState string

const (
	// UnitAbsent: it was not started since the machine was booted, or was removed.
	UnitAbsent UnitState = "absent"
	// UnitRunning: it goes on.
	UnitRunning UnitState = "running"
	// UnitEnded: it ran to its end; Code says how.
	UnitEnded UnitState = "ended"
	// UnitLost: it was started, and systemd has forgotten what came of it: somebody
	// stopped it or reset it. Its effects have to be looked at.
	UnitLost UnitState = "lost"
)

// UnitStatus is what systemd says of a Unit.
type UnitStatus struct {
	State UnitState
	// Code is the exit status of an ended unit; -1 if a signal ended it.
	Code int
	// Result is systemd's word for how it ended: success, exit-code, signal,
	// core-dump, oom-kill, timeout, ... (systemd.exec(5), $SERVICE_RESULT).
	Result string
	// PID is the main process of a running unit; 0 while it has none.
	PID int
}

// OK tells whether the command ran to its end with status 0.
func (s UnitStatus) OK() bool { return s.State == UnitEnded && s.Code == 0 && s.Result == "success" }

func (s UnitStatus) String() string {
	switch {
	case s.State != UnitEnded:
		return string(s.State)
	case s.Code < 0 || s.Result != "success" && s.Result != "exit-code":
		return "ended: " + s.Result
	}
	return fmt.Sprintf("ended with status %d", s.Code)
}

// ErrOtherUnit says that a unit of the name was started with another command.
var ErrOtherUnit = errors.New("another command was started under this name")

// unitDir holds what belongs to units. It is empty after a boot.
const unitDir = "/run/refit"

var unitName = regexp.MustCompile(`^refit-[A-Za-z0-9][A-Za-z0-9._-]{0,193}$`)

func (u Unit) check() error {
	if !unitName.MatchString(u.Name) {
		return fmt.Errorf("%q is no name for a unit: want refit- and then letters, digits, '-', '_' and '.'", u.Name)
	}
	if strings.ContainsAny(u.Description, "\x00\n") {
		return fmt.Errorf("the description %q of unit %s has more than a line", u.Description, u.Name)
	}
	if err := CheckArgv(u.Argv); err != nil {
		return fmt.Errorf("unit %s: %w", u.Name, err)
	}
	if err := CheckEnv(u.Env); err != nil {
		return fmt.Errorf("unit %s: %w", u.Name, err)
	}
	return nil
}

// script is the command as a shell reads it. systemd itself expands "$" and "%" in
// a command line, in ways that changed between its versions: it gets to see none.
func (u Unit) script() string {
	return "#!/bin/sh\n# Written by refit: " + u.Name + ".\nexec " + commandLine(u.Argv, u.Env) + "\n"
}

func (u Unit) file(ending string) string { return unitDir + "/" + u.Name + ending }

// Start starts the unit on m, unless it was started before, in which case it is left
// as it is: running, ended or lost. It is ErrOtherUnit if that was another command.
// It returns the state found or made. After an error, calling it again is safe.
func (u Unit) Start(ctx context.Context, m Machine) (UnitStatus, error) {
	if err := u.check(); err != nil {
		return UnitStatus{}, err
	}
	status, err := u.Status(ctx, m)
	if err != nil {
		return UnitStatus{}, err
	}
	if status.State != UnitAbsent {
		return status, u.same(ctx, m)
	}
	if err := Succeed(m.Exec(ctx, []string{"install", "-d", "-m", "0700", unitDir}, ExecOptions{})); err != nil {
		return UnitStatus{}, fmt.Errorf("start unit %s: make %s: %w", u.Name, unitDir, err)
	}
	if err := m.WriteFile(ctx, u.file(".sh"), []byte(u.script()), 0o600); err != nil {
		return UnitStatus{}, fmt.Errorf("start unit %s: %w", u.Name, err)
	}
	result, err := m.Exec(ctx, u.systemdRun(), ExecOptions{})
	if err != nil {
		return UnitStatus{}, fmt.Errorf("start unit %s: %w", u.Name, err)
	}
	status, err = u.Status(ctx, m)
	switch {
	case err != nil:
		return UnitStatus{}, err
	case status.State == UnitAbsent: // whoever else started it between the two looks, it would be there
		return UnitStatus{}, fmt.Errorf("start unit %s: %w", u.Name, Succeed(result, nil))
	}
	return status, nil
}

// same is ErrOtherUnit if the unit that is there was not started from u.
func (u Unit) same(ctx context.Context, m Machine) error {
	script, err := m.ReadFile(ctx, u.file(".sh"))
	if err == nil && string(script) != u.script() {
		err = ErrOtherUnit
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (not by refit)", ErrOtherUnit)
	}
	if err != nil {
		return fmt.Errorf("unit %s: %w", u.Name, err)
	}
	return nil
}

func (u Unit) systemdRun() []string {
	description := u.Description
	if description == "" {
		description = u.Name
	}
	return []string{
		"systemd-run", "--quiet", "--no-ask-password", "--unit=" + u.Name + ".service",
		"--description=" + description,
		"--service-type=exec", // the start fails if the shell cannot be executed
		"--remain-after-exit", // systemd remembers what came of it
		"--property=StandardOutput=append:" + u.file(".log"),
		"--property=StandardError=inherit",
		"--property=User=root", // so that HOME is set
		"--", "/bin/sh", u.file(".sh"),
	}
}

// Status looks at what became of the unit.
func (u Unit) Status(ctx context.Context, m Machine) (UnitStatus, error) {
	result, err := m.Exec(ctx, []string{
		"systemctl", "show", "--property=LoadState,ActiveState,SubState,Job,Result,ExecMainCode,ExecMainStatus,MainPID", "--", u.Name + ".service",
	}, ExecOptions{})
	if err = Succeed(result, err); err != nil {
		return UnitStatus{}, fmt.Errorf("look at unit %s: %w", u.Name, err)
	}
	status, known, err := parseUnit(string(result.Stdout))
	if err != nil {
		return UnitStatus{}, fmt.Errorf("look at unit %s: %w", u.Name, err)
	}
	if known {
		return status, nil
	}
	// systemd opens the output right before it executes the command.
	result, err = m.Exec(ctx, []string{"test", "-e", u.file(".log")}, ExecOptions{})
	switch {
	case err != nil:
		return UnitStatus{}, fmt.Errorf("look at unit %s: %w", u.Name, err)
	case result.Code == 0:
		return UnitStatus{State: UnitLost}, nil
	case result.Code == 1:
		return UnitStatus{State: UnitAbsent}, nil
	}
	return UnitStatus{}, fmt.Errorf("look at unit %s: %w", u.Name, Succeed(result, nil))
}

// parseUnit reads the properties of a service, "Name=value" each. It is not known
// if systemd does not have it (any more).
func parseUnit(properties string) (status UnitStatus, known bool, err error) {
	p := map[string]string{}
	for line := range strings.Lines(properties) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			p[name] = value
		}
	}
	if p["LoadState"] == "" || p["ActiveState"] == "" {
		return UnitStatus{}, false, fmt.Errorf("systemctl show says nothing of its state: %.200q", properties)
	}
	number := func(name string) int {
		n, parsed := strconv.Atoi(p[name])
		if parsed != nil && err == nil {
			err = fmt.Errorf("systemctl show says %s=%.40q: want a number", name, p[name])
		}
		return n
	}
	ended := func() UnitStatus {
		s := UnitStatus{State: UnitEnded, Result: p["Result"], Code: number("ExecMainStatus")}
		if number("ExecMainCode") != 1 { // CLD_EXITED of waitid(2)
			s.Code = -1
		}
		return s
	}
	switch {
	case p["LoadState"] == "not-found":
		return UnitStatus{}, false, nil
	case p["ActiveState"] == "failed", p["ActiveState"] == "active" && p["SubState"] == "exited":
		return ended(), true, err
	case p["ActiveState"] == "inactive" && (p["Job"] == "" || p["Job"] == "0"):
		return UnitStatus{}, false, nil // stopped, about to be forgotten
	}
	return UnitStatus{State: UnitRunning, PID: number("MainPID")}, true, err
}

// Remove makes systemd and the machine forget a unit that is not running; it may be
// started again then. Removing what is not there is no error.
func (u Unit) Remove(ctx context.Context, m Machine) error {
	if err := u.check(); err != nil {
		return err
	}
	status, err := u.Status(ctx, m)
	if err != nil {
		return err
	}
	if status.State == UnitRunning {
		return fmt.Errorf("remove unit %s: it is running", u.Name)
	}
	// A unit that ended well is stopped, one that failed is reset. Of what it is not,
	// systemctl makes an error; whether it is gone is looked at afterwards.
	for _, verb := range []string{"stop", "reset-failed"} {
		if _, err := m.Exec(ctx, []string{"systemctl", verb, "--quiet", "--", u.Name + ".service"}, ExecOptions{}); err != nil {
			return fmt.Errorf("remove unit %s: %w", u.Name, err)
		}
	}
	if err := Succeed(m.Exec(ctx, []string{"rm", "-f", "--", u.file(".sh"), u.file(".log")}, ExecOptions{})); err != nil {
		return fmt.Errorf("remove unit %s: %w", u.Name, err)
	}
	if status, err = u.Status(ctx, m); err == nil && status.State != UnitAbsent {
		err = fmt.Errorf("remove unit %s: it is still there: %s", u.Name, status)
	}
	return err
}

// Stop ends the unit if it runs: its processes are asked to (SIGTERM), and killed
// after systemd's grace. What came of it is lost thereby (UnitLost).
func (u Unit) Stop(ctx context.Context, m Machine) error {
	if err := u.check(); err != nil {
		return err
	}
	status, err := u.Status(ctx, m)
	if err != nil || status.State != UnitRunning {
		return err
	}
	if err := Succeed(m.Exec(ctx, []string{"systemctl", "stop", "--", u.Name + ".service"}, ExecOptions{})); err != nil {
		return fmt.Errorf("stop unit %s: %w", u.Name, err)
	}
	return nil
}

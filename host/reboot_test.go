// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"strings"
	"testing"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

var (
	makeDir = []string{"install", "-d", "-m", "0700", "/var/lib/refit"}
	reboots = []string{"systemctl", "--no-ask-password", "reboot"}
)

// boot is what the fake machine's systemctl does.
func boot(t *testing.T, m *hosttest.Machine, id string) func([]string, string) {
	return func([]string, string) {
		if err := m.Reboot(t.Context(), id); err != nil { // the fake's own, which counts boots
			t.Error(err)
		}
	}
}

func TestRebootTwiceRebootsOnce(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.Expect(makeDir...)
	m.Expect(reboots...).Do(boot(t, m, "first"))
	for range 3 {
		if err := host.RebootMachine(t.Context(), m, "request-1"); err != nil {
			t.Fatal(err)
		}
	}
	m.Expect(makeDir...)
	m.Expect(reboots...).Do(boot(t, m, "second"))
	if err := host.RebootMachine(t.Context(), m, "request-2"); err != nil || m.Reboots() != 2 {
		t.Errorf("%d reboots, %v", m.Reboots(), err)
	}
}

// Killed, or cut off, before it was asked to reboot, the machine is asked again.
func TestRebootIsAskedAgainInTheSameBoot(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.Expect(makeDir...)
	m.Expect(reboots...).BreakBefore()
	if err := host.RebootMachine(t.Context(), m, "request-1"); !errors.Is(err, host.ErrNotStarted) || !host.Temporary(err) {
		t.Errorf("got %v", err)
	}
	m.Expect(reboots...).Do(boot(t, m, "first"))
	if err := host.RebootMachine(t.Context(), m, "request-1"); err != nil || m.Reboots() != 1 {
		t.Errorf("%d reboots, %v", m.Reboots(), err)
	}
}

func TestRebootWhoseAnswerIsLost(t *testing.T) {
	m := hosttest.New(t, "gone")
	m.Expect(makeDir...)
	m.Expect(reboots...).Do(func([]string, string) { m.Offline() }).BreakAfter()
	if err := host.RebootMachine(t.Context(), m, "request-1"); err != nil {
		t.Errorf("a machine that went away: %v", err)
	}
	m = hosttest.New(t, "up")
	m.Expect(makeDir...)
	m.Expect(reboots...).BreakAfter()
	if err := host.RebootMachine(t.Context(), m, "request-1"); err == nil || !strings.Contains(err.Error(), "it is up still") {
		t.Errorf("a machine that is up: %v", err)
	}
	m = hosttest.New(t, "back")
	m.Expect(makeDir...)
	m.Expect(reboots...).Do(boot(t, m, "first")).BreakAfter()
	if err := host.RebootMachine(t.Context(), m, "request-1"); err != nil {
		t.Errorf("a machine that is back already: %v", err)
	}
}

func TestRebootIsRefused(t *testing.T) {
	m := hosttest.New(t, "node-01")
	m.Expect(makeDir...)
	m.Expect(reboots...).Code(1).Stderr("Operation inhibited by \"dpkg\"\n")
	var failed *host.FailedError
	if err := host.RebootMachine(t.Context(), m, "request-1"); !errors.As(err, &failed) || !strings.Contains(err.Error(), "inhibited") {
		t.Errorf("got %v", err)
	}
	m.SetFile(host.RebootFile, "{", 0o600)
	if err := host.RebootMachine(t.Context(), m, "request-1"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

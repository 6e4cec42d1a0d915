// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"refit.dev/refit/internal/hint"
)

const (
	// rebootDir and rebootFile hold the last reboot that refit asked for. They have
	// to outlive it.
	rebootDir  = "/var/lib/refit"
	rebootFile = rebootDir + "/reboot.json"
)

// asked is a reboot that was asked for, and the boot that it was to end.
type asked struct {
	Request string `json:"request"`
	BootID  string `json:"bootID"`
}

// obeyed tells whether a is the request id, and another boot followed it.
func (a asked) obeyed(id, now string) bool { return a.Request == id && a.BootID != now }

// Reboot reboots the machine by systemd, which stops its services in order. The
// request and the boot that it is to end are written down on the machine first: the
// same request asked again in a later boot was obeyed already.
func (o *over) Reboot(ctx context.Context, id string) error { return rebootMachine(ctx, o, id) }

func rebootMachine(ctx context.Context, m Machine, id string) error {
	now, err := m.BootID(ctx)
	if err != nil {
		return err
	}
	before, err := readAsked(ctx, m)
	if err != nil {
		return err
	}
	if before.obeyed(id, now) {
		return nil
	}
	if before.Request != id {
		if err := writeAsked(ctx, m, asked{Request: id, BootID: now}); err != nil {
			return err
		}
	}
	// That the machine goes down at once may cost the answer: then it is not known
	// whether it obeyed, until it is seen again.
	err = Succeed(m.Exec(ctx, []string{"systemctl", "--no-ask-password", "reboot"}, ExecOptions{}))
	var failed *FailedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return hint.Wrap(fmt.Errorf("reboot the machine: systemctl reboot: %w", err),
			"systemd-inhibit --list on the machine shows who keeps it from being rebooted")
	case errors.Is(err, ErrNotStarted), ctx.Err() != nil:
		return fmt.Errorf("reboot the machine: %w", err)
	}
	after, looked := m.BootID(ctx)
	if looked == nil && after == now {
		return fmt.Errorf("reboot the machine: the answer was lost, and it is up still: %w", err)
	}
	return nil // another boot, or on its way there
}

func readAsked(ctx context.Context, m Machine) (asked, error) {
	data, err := m.ReadFile(ctx, rebootFile)
	if errors.Is(err, fs.ErrNotExist) {
		return asked{}, nil
	}
	if err != nil {
		return asked{}, fmt.Errorf("find the last reboot that was asked for: %w", err)
	}
	var a asked
	if err := json.Unmarshal(data, &a); err != nil {
		return asked{}, hint.Wrap(fmt.Errorf("%s on the machine is damaged: %w", rebootFile, err),
			"remove it once no run of refit is about to reboot that machine")
	}
	return a, nil
}

func writeAsked(ctx context.Context, m Machine, a asked) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write the reboot down: %w", err)
	}
	if err := Succeed(m.Exec(ctx, []string{"install", "-d", "-m", "0700", rebootDir}, ExecOptions{})); err != nil {
		return fmt.Errorf("make %s on the machine: %w", rebootDir, err)
	}
	return m.WriteFile(ctx, rebootFile, append(data, '\n'), 0o600)
}

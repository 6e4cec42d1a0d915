// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
)

// Output takes what a command writes, line by line, without the line ends.
// It is called from one goroutine at a time.
type Output func(line string)

// Host is one machine that carries a node.
//
// Implementations return as soon as ctx ends and stop what they had started.
type Host interface {
	// Run runs a shell command for the node and streams what it writes to out.
	// It returns an *ExitError when the command ran and failed, and any other
	// error when it is not known whether, or how far, the command ran.
	Run(ctx context.Context, command string, out Output) error

	// Reboot starts a reboot and returns once the machine has accepted it; it
	// does not wait for the machine to come back. Calling it again with the same
	// id while or after that reboot took place does not reboot a second time.
	Reboot(ctx context.Context, id string) error
}

// ExitError says that a command ran to its end and failed. It does not quote the
// command, and neither do the other errors of Run: they end up where many may
// read them, and a command may hold secrets.
type ExitError struct {
	Code int // exit status; -1 if a signal ended it
}

func (e *ExitError) Error() string {
	if e.Code < 0 {
		return "the command was ended by a signal"
	}
	return fmt.Sprintf("the command exited with status %d", e.Code)
}

// ErrNoReboot is returned by hosts that have no way to reboot their machine.
var ErrNoReboot = errors.New("this host cannot be rebooted by refit")

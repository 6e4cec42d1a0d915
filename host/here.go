// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// here runs commands on the machine that refit runs on: as root, or with refit's own rights.
type here struct{ own bool }

// Here returns the machine that refit itself runs on, for when that is the node.
// Where refit is not root it takes sudo. The variables env ("NAME=value") are in the
// environment of what Run runs.
func Here(env []string) Machine { return Over(here{}, env) }

// Own returns the same machine for what belongs to refit's user: nothing is done as root
// that refit cannot do itself.
func Own(env []string) Machine { return Over(here{own: true}, env) }

// sudo lets a command run as root without ever asking for a password: there is
// nobody to type it.
var sudo = [...]string{"sudo", "-n", "--"}

// AsRoot returns argv as a login that is not root has to run it to be root.
func AsRoot(argv []string) []string { return append(append([]string(nil), sudo[:]...), argv...) }

// Do runs a command. When ctx ends it is killed, which may leave its children behind.
func (h here) Do(ctx context.Context, c Command) (int, error) {
	argv := c.Argv
	if !h.own && os.Geteuid() != 0 {
		argv = AsRoot(argv)
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, context.Cause(ctx))
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at refit's terminal does not reach it
	cmd.WaitDelay = stopGrace
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return 0, fmt.Errorf("the command was left alone: %w", context.Cause(ctx))
	case c.Whole && errors.Is(err, exec.ErrWaitDelay):
		return 0, errors.New("the command ended, and something that it left in the background keeps its output open")
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("run the command: %w", err)
}

// Dial connects as every program of this machine does.
func (here) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func (here) Close() error { return nil }

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// stopGrace is how long a command has to end after it was asked to (SIGTERM)
// before it is killed.
const stopGrace = 3 * time.Second

// Local works on a node from the shell of the machine that refit runs on: the
// command finds in its environment which node it is for and reaches it itself.
//
// Variables set for the command: REFIT_NODE (name), REFIT_NODE_UID,
// REFIT_NODE_ADDRESS (the node's InternalIP, empty if it has none) and REFIT_RUN.
type Local struct {
	env []string
}

// NewLocal returns the Host for commands of the named run about node.
func NewLocal(node *corev1.Node, run string) *Local { return &Local{env: Environment(node, run)} }

// Environment is what commands of the named run about node find in their
// environment, see Local.
func Environment(node *corev1.Node, run string) []string {
	address := ""
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		// A kubelet writes what it likes, and commands of the operator's read it as a word.
		if ip, err := netip.ParseAddr(a.Address); err == nil && ip.Zone() == "" {
			address = a.Address
		}
		break
	}
	return []string{
		"REFIT_NODE=" + node.Name,
		"REFIT_NODE_UID=" + string(node.UID),
		"REFIT_NODE_ADDRESS=" + address,
		"REFIT_RUN=" + run,
	}
}

// Run runs `sh -c command` in a process group of its own, so that a Ctrl-C at
// refit's terminal does not reach it: refit decides what ends when. When ctx
// ends the whole group is asked to end and, after a short grace, killed; the
// error is then ctx's. Processes that a finished command left in the background
// are left alone, but what they write afterwards is not waited for.
func (l *Local) Run(ctx context.Context, command string, out Output) error {
	lines := &lineWriter{out: out}
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Stdout, cmd.Stderr = lines, lines
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace

	err := cmd.Run()
	lines.Close()
	if ctx.Err() != nil && cmd.Process != nil {
		// The shell is gone; its children may have ignored the request to end.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return fmt.Errorf("the command was stopped: %w", context.Cause(ctx))
	}
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit):
		return &ExitError{Code: exit.ExitCode()}
	default:
		return fmt.Errorf("run the command: %w", err)
	}
}

// Reboot returns ErrNoReboot: the machine that refit runs on is not the node.
func (l *Local) Reboot(context.Context, string) error { return ErrNoReboot }

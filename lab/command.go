// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Progress is told what happens, a line of text at a time; it may be nil.
type Progress func(line string)

func (p Progress) say(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// command is a program to run. It ends with this process, however that ends, so
// that nobody is at work any more when the next one begins.
type command struct {
	Dir   string
	Env   []string // beside this process's
	Stdin io.Reader
	Argv  []string
}

// errorLines is how much of what a failed command wrote becomes its error.
const errorLines = 15

// run returns what the command writes to its standard output. The error ends
// with the last lines of what it said.
func (c command) run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Env = c.Dir, c.Stdin, append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	said := strings.TrimSpace(stderr.String())
	if said == "" {
		said = strings.TrimSpace(stdout.String())
	}
	if errors.Is(err, exec.ErrNotFound) || said == "" {
		return stdout.String(), fmt.Errorf("%s: %w", c.Argv[0], err)
	}
	lines := strings.Split(said, "\n")
	if len(lines) > errorLines {
		lines = lines[len(lines)-errorLines:]
	}
	return stdout.String(), fmt.Errorf("%s: %w:\n  %s", c.Argv[0], err, strings.Join(lines, "\n  "))
}

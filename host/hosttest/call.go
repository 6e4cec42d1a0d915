// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"context"
	"fmt"
	"strings"

	"refit.dev/refit/host"
)

// Call is the answer to one command. Its methods return it, so that they chain.
type Call struct {
	what   string
	match  func(argv []string) bool
	result host.Result
	before error
	after  error
	do     func(argv []string, stdin string)
}

// Stdout is what the command writes to its standard output.
func (c *Call) Stdout(text string) *Call {
	c.result.Stdout = []byte(text)
	return c
}

// Stderr is what the command writes to its standard error output.
func (c *Call) Stderr(text string) *Call {
	c.result.Stderr = []byte(text)
	return c
}

// Code is the command's exit status; -1 is a command ended by a signal.
func (c *Call) Code(code int) *Call {
	c.result.Code = code
	return c
}

// Do is called when the command runs, with its arguments and all of its input. It
// may change the machine's files.
func (c *Call) Do(do func(argv []string, stdin string)) *Call {
	c.do = do
	return c
}

// BreakBefore breaks the connection before the command starts: the error is
// host.ErrNotStarted, nothing was done.
func (c *Call) BreakBefore() *Call {
	c.before = fmt.Errorf("%w: %w", host.ErrNotStarted, away("the connection broke before"))
	return c
}

// BreakAfter breaks the connection once the command has run and before its outcome
// arrives: what Do does was done, and the error is ErrLost.
func (c *Call) BreakAfter() *Call {
	c.after = ErrLost
	return c
}

// Fail runs the command, as BreakAfter, and answers err.
func (c *Call) Fail(err error) *Call {
	c.after = err
	return c
}

func (c *Call) answer(ctx context.Context, argv []string, stdin string, opts host.ExecOptions) (host.Result, error) {
	if c.before != nil {
		return host.Result{}, c.before
	}
	if c.do != nil {
		c.do(argv, stdin)
	}
	if c.after != nil {
		return host.Result{}, c.after
	}
	if err := context.Cause(ctx); err != nil { // Do may have ended it
		return host.Result{}, fmt.Errorf("the command was left alone: %w", err)
	}
	if opts.Output != nil {
		for _, text := range []string{string(c.result.Stdout), string(c.result.Stderr)} {
			for line := range strings.Lines(text) {
				opts.Output(strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return c.result, nil
}

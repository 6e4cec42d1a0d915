// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import "errors"

// The exit codes are part of the contract of the command line.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2 // wrong usage or input
	exitBlocked    = 3 // it would not be safe, nothing was changed
	exitUnfinished = 4 // timeout, interrupted, stopped by a gate; consistent, can be resumed
	exitLocked     = 5 // another run holds the lock
)

// exitError is an error that decides the exit code. One without an error is
// silent: what there is to say has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitWith makes err end the program with code.
func exitWith(code int, err error) error { return &exitError{code: code, err: err} }

// exitCode returns the code that err asks for; plain errors are failures.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

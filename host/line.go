// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"fmt"
)

// environment is what every command of refit finds, see ExecOptions.Env.
var environment = [...]string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LC_ALL=C",
}

// withEnvironment puts before argv what sets its environment.
func withEnvironment(argv, env []string) []string {
	words := append([]string{"/usr/bin/env", "--"}, environment[:]...)
	return append(append(words, env...), argv...)
}

// commandLine is argv with its environment for a POSIX shell.
func commandLine(argv, env []string) string { return Quote(withEnvironment(argv, env)...) }

// FailedError says that a command of refit's own ran and failed.
type FailedError struct {
	Code int
	// Says is the end of what the command wrote to its standard error output.
	Says string
}

func (e *FailedError) Error() string {
	text := (&ExitError{Code: e.Code}).Error()
	if e.Says != "" {
		text += ": " + e.Says
	}
	return text
}

// Unwrap lets who asks for an ExitError find one.
func (e *FailedError) Unwrap() error { return &ExitError{Code: e.Code} }

// Succeed makes an error of the result of a command that failed, for commands whose
// only good status is 0; the end of its error output is in it. It takes what
// Machine.Exec returns.
func Succeed(result Result, err error) error {
	if err != nil || result.Code == 0 {
		return err
	}
	return &FailedError{Code: result.Code, Says: lastWords(result.Stderr)}
}

// lastWords is the end of an error output as one printable line.
func lastWords(stderr []byte) string {
	const most = 400
	text := bytes.TrimSpace(stderr)
	if len(text) > most {
		text = append([]byte("..."), text[len(text)-most:]...)
	}
	quoted := fmt.Sprintf("%q", bytes.ToValidUTF8(bytes.ReplaceAll(text, []byte("\n"), []byte("; ")), []byte("\uFFFD")))
	return quoted[1 : len(quoted)-1]
}

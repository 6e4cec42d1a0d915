// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"strings"
)

// Quote returns argv as one line for a POSIX shell, which splits it into exactly
// these words again: nothing in them is expanded, and none becomes an operator. A
// word cannot hold a NUL byte; CheckArgv says so before anything is sent.
//
// Everything but the plainest words goes into single quotes, inside which the
// shell knows no special character (POSIX.1-2024, Shell Command Language 2.2.2).
func Quote(argv ...string) string {
	var b strings.Builder
	for i, word := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		if plain(word, i == 0) {
			b.WriteString(word)
			continue
		}
		b.WriteByte('\'')
		b.WriteString(strings.ReplaceAll(word, "'", `'\''`))
		b.WriteByte('\'')
	}
	return b.String()
}

// plain tells whether a shell takes word as it is, wherever it stands. The first
// word is always quoted: it could be a reserved word, an alias or an assignment.
func plain(word string, first bool) bool {
	if word == "" || first && !strings.HasPrefix(word, "/") {
		return false
	}
	for _, c := range []byte(word) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_./:,+@%", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// CheckArgv says what makes argv something that cannot be run anywhere: no
// command, or a NUL byte, at which an operating system ends an argument. A command
// whose name has a "=" is refused as well: env(1), which sets a command's
// environment, would take it for a variable.
func CheckArgv(argv []string) error {
	switch {
	case len(argv) == 0 || argv[0] == "":
		return errors.New("no command is named")
	case strings.Contains(argv[0], "="):
		return fmt.Errorf("the command's name %q has a =", argv[0])
	}
	for i, word := range argv {
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("argument %d has a NUL byte", i)
		}
	}
	return nil
}

// CheckEnv says which of env is no "NAME=value" that a command can be given.
func CheckEnv(env []string) error {
	for i, variable := range env {
		name, value, found := strings.Cut(variable, "=")
		// The value is not quoted in the error: it may be a secret.
		if !found || !variableName(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("variable %d of the environment (%q) is no NAME=value", i, name)
		}
	}
	return nil
}

func variableName(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || '9' < c) {
			return false
		}
	}
	return name != ""
}

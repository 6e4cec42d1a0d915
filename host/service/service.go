// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package service reads what systemd says of a service on a machine: whether it runs, and the
// command that it would start, with its drop-ins and environment files taken in.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
)

// Service is a service of systemd.
type Service struct {
	Name string // with .service
	// Load is systemd's word for whether it has read it: loaded, not-found, masked, bad-setting,
	// error. Loaded tells that there is one of the name.
	Load   string
	Loaded bool
	// Active and Sub are systemd's words for how it is: active, running.
	Active, Sub string
	// PID is that of its main process; 0 if none runs.
	PID int
	// NeedsReload tells that systemd has not read its files since they changed.
	NeedsReload bool
	// Argv is the command that would be started, with variables filled in; its first word is the
	// path of what is executed, whatever that is told it is called.
	Argv []string
	// Environment are the variables that it is started with. They may be secrets.
	Environment map[string]string
}

// Runs tells whether it is up.
func (s Service) Runs() bool { return s.Active == "active" && s.Sub == "running" && s.PID > 0 }

// properties are what systemd is asked for.
const properties = "LoadState,ActiveState,SubState,MainPID,NeedDaemonReload,ExecStart,Environment,EnvironmentFiles"

// Look asks systemd for a service, by its name without ".service". One that there is not is no
// error: Loaded tells. One that systemd could not read is.
func Look(ctx context.Context, m host.Machine, name string) (Service, error) {
	s := Service{Name: name + ".service"}
	result, err := m.Exec(ctx, []string{"systemctl", "show", "--property=" + properties, "--", s.Name}, host.ExecOptions{})
	if err = host.Succeed(result, err); err != nil {
		return s, fmt.Errorf("ask systemd for %s: %w", s.Name, err)
	}
	start, environment, files := s.parse(string(result.Stdout))
	if err := s.readable(); err != nil {
		return s, err
	}
	if !s.Loaded || start == "" {
		return s, nil
	}
	words, err := commandOf(start)
	if err != nil {
		return s, fmt.Errorf("systemd says of %s: %w", s.Name, err)
	}
	variables := map[string]string{}
	for _, word := range split(environment) {
		if name, value, found := strings.Cut(word, "="); found {
			variables[name] = value
		}
	}
	if files, err = matching(ctx, m, files); err != nil {
		return s, fmt.Errorf("find the environment files of %s: %w", s.Name, err)
	}
	for _, file := range files {
		text, err := m.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // systemd would say so if it minds
		}
		if err != nil {
			return s, fmt.Errorf("read %s, which %s names: %w", file, s.Name, err)
		}
		readEnvironment(string(text), variables)
	}
	s.Argv, s.Environment = expand(words, variables), variables
	return s, nil
}

// readable fails for a service that is there in a way, and of which systemd does not know what
// it would start. One that is masked and does not run is as good as none.
func (s Service) readable() error {
	switch {
	case s.Load == "", s.Load == "loaded", s.Load == "not-found", s.Load == "masked" && s.PID == 0:
		return nil
	}
	return hint.Wrap(fmt.Errorf("systemd has not read %s: it is %s, and its main process has the ID %d", s.Name, s.Load, s.PID),
		"see what systemctl status %s says, and mend the unit", s.Name)
}

// parse reads what systemctl show says, and returns what stands of the command.
func (s *Service) parse(text string) (start, environment string, files []string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		switch name {
		case "LoadState":
			s.Load, s.Loaded = value, value == "loaded"
		case "ActiveState":
			s.Active = value
		case "SubState":
			s.Sub = value
		case "MainPID":
			s.PID, _ = strconv.Atoi(value) // 0 is none
		case "NeedDaemonReload":
			s.NeedsReload = value == "yes"
		case "ExecStart":
			start = value
		case "Environment":
			environment = value
		case "EnvironmentFiles":
			file, _, _ := strings.Cut(value, " (ignore_errors=")
			if file != "" {
				files = append(files, file)
			}
		}
	}
	return start, environment, files
}

// commandOf takes the words out of "{ path=/x ; argv[]=/x --y ; ignore_errors=no ; ... }".
func commandOf(text string) ([]string, error) {
	path, rest, found := strings.Cut(strings.TrimPrefix(text, "{ path="), " ; argv[]=")
	command, _, ended := strings.Cut(rest, " ; ignore_errors=")
	words := strings.Fields(command)
	if !found || !ended || len(words) == 0 {
		return nil, fmt.Errorf("it executes %.200q, which is not understood", text)
	}
	words[0] = path // another name can be told with ExecStart=@
	return words, nil
}

// expand fills in variables as systemd does: $NAME as a word of its own becomes the words in
// it, ${NAME} its text.
func expand(words []string, variables map[string]string) []string {
	var all []string
	for _, word := range words {
		if name, alone := strings.CutPrefix(word, "$"); alone && isName(name) {
			all = append(all, split(variables[name])...)
			continue
		}
		all = append(all, fill(word, variables))
	}
	return all
}

// fill fills ${NAME} and $$ into a word.
func fill(word string, variables map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(word, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}")
		switch {
		case strings.HasPrefix(after, "{") && closed && isName(name):
			b.WriteString(variables[name])
			word = rest
		default:
			b.WriteString("$")
			word = strings.TrimPrefix(after, "$")
		}
	}
}

func isName(text string) bool {
	for i, r := range text {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return text != ""
}

// split takes words apart as systemd quotes them: by white space, but for what is between
// quotes; a backslash is taken off.
func split(text string) []string {
	var words []string
	var word strings.Builder
	quote, begun, escaped := rune(0), false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

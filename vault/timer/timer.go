// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package timer writes what saves backup sets again and again: a timer and a service of
// systemd, or a line of cron. It is pure.
package timer

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"refit.dev/refit/host"
)

// Mark stands in each unit that refit has written.
const Mark = "# Written by refit backup schedule."

// Schedule says what is done when.
type Schedule struct {
	// Name is what the units are called, without suffix.
	Name string
	// OnCalendar is an expression of systemd.time(7), or the five fields of crontab(5).
	OnCalendar string
	// Program is refit, Save and Prune are commands; Prune may be nil.
	Program     string
	Save, Prune []string
	// EnvironmentFile is "" or an absolute path.
	EnvironmentFile string
}

// Unit is a file for systemd.
type Unit struct{ Name, Text string }

func (s Schedule) check() error {
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`).MatchString(s.Name):
		return fmt.Errorf("the name %q: want letters, digits and . _ - alone", s.Name)
	case strings.TrimSpace(s.OnCalendar) == "" || strings.ContainsAny(s.OnCalendar, "\n\r\x00"):
		return fmt.Errorf("the time %q: want an expression on one line", s.OnCalendar)
	case s.EnvironmentFile != "" && (!filepath.IsAbs(s.EnvironmentFile) || strings.ContainsAny(s.EnvironmentFile, "\n\r\x00%\"\\ ")):
		return fmt.Errorf("the environment file %q: want an absolute path without spaces, quotes and %%", s.EnvironmentFile)
	}
	for _, word := range append(append([]string{}, s.Save...), s.Prune...) {
		if strings.ContainsAny(word, "\n\r\x00") {
			return fmt.Errorf("the argument %q is longer than a line", word)
		}
	}
	return nil
}

// Units are a service and its timer.
func (s Schedule) Units() ([]Unit, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n[Unit]\nDescription=Save a backup set of the cluster\nDocumentation=https://refit.dev\nAfter=network-online.target\nWants=network-online.target\n\n", Mark)
	fmt.Fprintf(&b, "[Service]\nType=oneshot\nUMask=0077\nNice=10\nIOSchedulingClass=idle\n")
	// Deltas need the page hashes of their full, which a service without a home could not keep.
	fmt.Fprintf(&b, "StateDirectory=refit\nStateDirectoryMode=0700\nEnvironment=REFIT_STATE_DIR=/var/lib/refit\n")
	if s.EnvironmentFile != "" {
		fmt.Fprintf(&b, "EnvironmentFile=%s\n", s.EnvironmentFile)
	}
	fmt.Fprintf(&b, "ExecStart=%s\n", line(s.Save))
	if s.Prune != nil {
		fmt.Fprintf(&b, "ExecStart=%s\n", line(s.Prune))
	}
	service := Unit{s.Name + ".service", b.String()}
	text := fmt.Sprintf("%s\n[Unit]\nDescription=Save backup sets of the cluster\n\n[Timer]\nOnCalendar=%s\nPersistent=true\nRandomizedDelaySec=60\n\n[Install]\nWantedBy=timers.target\n",
		Mark, strings.ReplaceAll(strings.TrimSpace(s.OnCalendar), "%", "%%"))
	return []Unit{service, {s.Name + ".timer", text}}, nil
}

// line is a command as systemd reads it (systemd.service(5), COMMAND LINES): in double quotes, where \
// escapes, and with the two signs doubled that it would replace.
func line(argv []string) string {
	var words []string
	for _, word := range argv {
		word = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(word)
		if word == "" || strings.ContainsAny(word, " \t\\\"';") {
			word = `"` + word + `"`
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// Cron is a line for a crontab of root, with words that a shell reads.
func (s Schedule) Cron() (string, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	when := strings.TrimSpace(s.OnCalendar)
	switch when {
	case "hourly", "daily", "weekly", "monthly":
		when = "@" + when
	default:
		if n := len(strings.Fields(when)); n != 5 && !strings.HasPrefix(when, "@") {
			return "", fmt.Errorf("the time %q has %d fields: cron wants five (minute hour day month weekday)", when, n)
		}
	}
	command := host.Quote(s.Save...)
	if s.Prune != nil {
		command += " && " + host.Quote(s.Prune...)
	}
	if s.EnvironmentFile != "" {
		command = "set -a && . " + host.Quote(s.EnvironmentFile) + " && " + command
	}
	// A % ends the command for cron.
	return fmt.Sprintf("%s %s\n", when, strings.ReplaceAll(command, "%", `\%`)), nil
}

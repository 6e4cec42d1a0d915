// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"strings"

	"refit.dev/refit/host"
)

// globScript prints the files that the pattern $1 matches, in their order.
const globScript = `IFS=
for file in $1; do [ -f "$file" ] && printf '%s\n' "$file"; done
true`

// matching puts the files that patterns match in place of the patterns: EnvironmentFile takes
// those of glob(7), see systemd.exec(5).
func matching(ctx context.Context, m host.Machine, files []string) ([]string, error) {
	var all []string
	for _, file := range files {
		if !strings.ContainsAny(file, "*?[") {
			all = append(all, file)
			continue
		}
		result, err := m.Exec(ctx, []string{"env", "LC_ALL=C", "sh", "-c", globScript, "sh", file}, host.ExecOptions{})
		if err := host.Succeed(result, err); err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(result.Stdout)) {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return all, nil
}

// readEnvironment reads a file of NAME=VALUE lines, see systemd.exec(5), EnvironmentFile: a value
// may be quoted, over several lines too, and a backslash at the end of a line continues it.
func readEnvironment(text string, variables map[string]string) {
	for text != "" {
		line, _, _ := strings.Cut(text, "\n")
		trimmed := strings.TrimSpace(line)
		name, _, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		var value string
		value, text = readValue(text[len(name)+1:])
		variables[strings.TrimSpace(name)] = value
	}
}

// readValue reads a value up to the end of its line, and returns what comes after that. Quotes
// count where a value begins, and right behind others.
func readValue(text string) (value, rest string) {
	var b strings.Builder
	kept := 0 // what is written up to here is not white space at the end
	quote, begins := byte(0), true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			if text[i] == '\n' {
				continue
			}
			if quote == '"' && !strings.ContainsRune("\"\\`$", rune(text[i])) {
				b.WriteByte(c)
			}
			b.WriteByte(text[i])
			kept, begins = b.Len(), false
		case quote != 0 && c == quote:
			quote, kept, begins = 0, b.Len(), true
		case quote != 0:
			b.WriteByte(c)
		case c == '\n':
			return b.String()[:kept], text[i+1:]
		case begins && (c == '"' || c == '\''):
			quote = c
		case c == ' ' || c == '\t' || c == '\r':
			if !begins {
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
			kept, begins = b.Len(), false
		}
	}
	return b.String()[:kept], ""
}

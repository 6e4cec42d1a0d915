// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands is the reference of root and all commands below it, in the order of
// the help.
func commands(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\n" +
		"Installed as `kubectl-refit` in the `PATH`, every command is one of kubectl, too: `kubectl refit check`.\n\n")
	list(&b, root, 0)
	for _, c := range below(root) {
		section(&b, c)
	}
	b.WriteString("## Flags of all commands\n\nThey are kubectl's, and choose the cluster and who you are.\n\n")
	flags(&b, root.PersistentFlags())
	return b.String()
}

// list is the table of contents.
func list(b *strings.Builder, c *cobra.Command, depth int) {
	for _, sub := range visible(c) {
		fmt.Fprintf(b, "%s- [%s](#%s): %s\n", strings.Repeat("  ", depth), sub.CommandPath(), anchor(sub), sub.Short)
		list(b, sub, depth+1)
	}
	if depth == 0 {
		b.WriteString("\n")
	}
}

func section(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "## %s\n\n", c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(b, "%s\n\n", strings.TrimSpace(text))
	if c.Runnable() {
		fmt.Fprintf(b, "```\n%s\n```\n\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "```console\n%s\n```\n\n", dedent(c.Example))
	}
	flags(b, c.LocalNonPersistentFlags())
	if c.HasAvailablePersistentFlags() {
		flags(b, c.PersistentFlags())
	}
}

func flags(b *strings.Builder, set *pflag.FlagSet) {
	any := false
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if !any {
			b.WriteString("| flag | default | |\n|---|---|---|\n")
			any = true
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, value(f), cell(usage))
	})
	if any {
		b.WriteString("\n")
	}
}

// value is a flag's default. Those that depend on who runs the generator are left out.
func value(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "[]" || f.Name == "cache-dir" {
		return ""
	}
	return "`" + f.DefValue + "`"
}

// cell fits text into a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}

// below returns all visible commands below c, depth first.
func below(c *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, sub := range visible(c) {
		out = append(append(out, sub), below(sub)...)
	}
	return out
}

func visible(c *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			out = append(out, sub)
		}
	}
	return out
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// dedent takes the indentation of help texts off.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

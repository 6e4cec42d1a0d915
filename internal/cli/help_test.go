// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp holds every command to what kubectl's users are used to: a sentence
// without a full stop, and examples that begin with a comment or the command.
func TestHelp(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() == "help" || sub.Name() == "completion" { // cobra's own
				continue
			}
			path := sub.CommandPath()
			if sub.Short == "" || strings.HasSuffix(sub.Short, ".") || sub.Short[0] < 'A' || sub.Short[0] > 'Z' {
				t.Errorf("%s: short description %q", path, sub.Short)
			}
			if sub.Runnable() && !sub.HasSubCommands() && sub.Name() != "version" && sub.Name() != "options" && !strings.Contains(sub.Example, path) {
				t.Errorf("%s has no example of its use", path)
			}
			for line := range strings.SplitSeq(sub.Example, "\n") {
				if line != "" && !strings.HasPrefix(line, "  ") {
					t.Errorf("%s: example line %q is not indented by two spaces", path, line)
				}
			}
			visit(sub)
		}
	}
	visit(Root())
}

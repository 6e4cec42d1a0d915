// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/run"
	"refit.dev/refit/upgrade"
)

// findings is the reference of what `refit check` can find, and what can be wrong with a plan.
func findings() string {
	var b strings.Builder
	b.WriteString("# Findings\n\n" +
		"`refit check` tells what it finds under these codes, which never change. A blocker makes the exit code 3.\n\n")
	writeCodes(&b, check.Codes())
	b.WriteString("\n## Of a plan\nThe blockers and warnings of a plan (`refit maintain --dry-run`) have these codes.\n\n")
	writeCodes(&b, run.PlanCodes())
	b.WriteString("\n## Of an upgrade\nWhat `refit upgrade plan` finds has these codes.\n\n")
	writeCodes(&b, upgrade.AllCodes())
	return b.String()
}

func writeCodes(b *strings.Builder, codes []cluster.Code) {
	b.WriteString("| code | severity | meaning | what to do |\n|---|---|---|---|\n")
	for _, c := range codes {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", c.Name, c.Severity, cell(c.Meaning), cell(c.Do))
	}
}

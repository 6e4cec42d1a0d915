// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"
)

func TestDemoUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"demo", "--nodes", "5"}, "--nodes 5: the demo needs 6 at least"},
		{[]string{"demo", "--max-unavailable", "0"}, "--max-unavailable"},
		{[]string{"demo", "--max-unavailable", "most"}, "--max-unavailable"},
		{[]string{"demo", "node-01"}, "node-01"},
		{[]string{"demo", "--color", "sometimes"}, "auto, always or never"},
	} {
		out, errw, code := refit(t, c.args...)
		if code != exitUsage || out != "" || !strings.Contains(errw, c.want) {
			t.Errorf("%v: exit %d, stdout %q, stderr %q, want exit %d and %q", c.args, code, out, errw, exitUsage, c.want)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/internal/statedir"
)

// TestUpgradeApplyRefuses: wrong use is told before anybody is asked for anything: there is
// no cluster in this test.
func TestUpgradeApplyRefuses(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv(statedir.Env, t.TempDir())
	nowhere := filepath.Join(t.TempDir(), "no", "plan.yaml")
	for want, args := range map[string][]string{
		"--to is missing": {},
		"--to: ":          {"--to", "newest"},
		"--worker-hops":   {"--to", "1.37.2", "--worker-hops", "all"},
		"--backup-dir and --no-backup exclude each other": {"--to", "1.37.2", "--backup-dir", "x", "--no-backup"},
		"--backup-dir is empty":                           {"--to", "1.37.2", "--backup-dir", ""},
		"--plan excludes --no-backup":                     {"--plan", "x", "--no-backup"},
		"--max-unavailable":                               {"--to", "1.37.2", "--max-unavailable", "-1"},
		`--strategy "fast": want rolling`:                 {"--to", "1.37.2", "--strategy", "fast"},
		"say --accept-downtime":                           {"--to", "1.37.2", "--strategy", "all-at-once"},
		`--pause-after "worker": want`:                    {"--to", "1.37.2", "--pause-after", "worker"},
		"--ready-timeout 0s: want more than 0":            {"--to", "1.37.2", "--ready-timeout", "0"},
		"--soak -1s: want 0":                              {"--to", "1.37.2", "--soak", "-1s"},
		"--plan is empty":                                 {"--plan", ""},
		"--plan excludes --force, --to":                   {"--plan", "upgrade.yaml", "--to", "1.37.2", "--force"},
		"--plan excludes --out":                           {"--plan", "upgrade.yaml", "--out", "other.yaml"},
		"--out is empty":                                  {"--to", "1.37.2", "--out", ""},
		"no such file or directory":                       {"--to", "1.37.2", "--out", nowhere},
		"a plan is not made by the API server":            {"--to", "1.37.2", "--dry-run=server"},
		"takes no arguments: v1.37.2":                     {"v1.37.2"},
	} {
		out, errw, code := refit(t, append([]string{"upgrade", "apply"}, args...)...)
		if code != exitUsage || out != "" || !strings.Contains(strings.ReplaceAll(errw, "\n", " "), want) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want %q", args, code, out, errw, want)
		}
	}
}

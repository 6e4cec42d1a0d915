// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/report"
	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
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

// TestUpgradeApplyGoesTheWayOfThePlan: what a saved plan says of the way need not be said once more, and what is said
// otherwise is refused. There is no cluster in this test.
func TestUpgradeApplyGoesTheWayOfThePlan(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv(statedir.Env, t.TempDir())
	dir := t.TempDir()
	save := func(strategy upgrade.Strategy, surge int, method upgrade.Method) string {
		p := upgrade.SavedPlan{
			APIVersion: "refit.dev/v1alpha1", Kind: "UpgradePlan", Cluster: "u",
			Spec:   upgrade.Intent{Version: skew.Version{Minor: 37, Patch: 2}, Workers: skew.FewestHops, MaxUnavailable: 1, Strategy: strategy, Surge: surge, Method: method},
			Ground: upgrade.Ground{Nodes: []upgrade.GroundNode{{Name: "a", UID: "1"}}},
		}
		p.From, p.To, p.Workers, p.MaxUnavailable, p.Strategy, p.Surge, p.Method = skew.Version{Minor: 37, Patch: 1}, p.Spec.Version, p.Spec.Workers, 1, strategy, surge, method
		var b bytes.Buffer
		file := filepath.Join(dir, string(strategy)+string(method)+".yaml")
		if err := report.WriteData(&b, "yaml", p); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	provider := filepath.Join(dir, "provider")
	const commands = "apiVersion: refit.dev/v1alpha1\nkind: Provider\ncreate: {command: [none]}\ndelete: {command: [none]}\nlist: {command: [none]}\n"
	if err := os.WriteFile(provider, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	replace, rolling, atOnce := save(upgrade.Replace, 2, ""), save(upgrade.Rolling, 0, ""), save(upgrade.AllAtOnce, 0, "")
	const noCluster = "kubeconfig"
	for _, c := range []struct {
		args, says string
	}{
		{"--plan " + replace + " --provider " + provider, noCluster},
		{"--plan " + replace + " --provider " + provider + " --strategy replace --surge 2", noCluster},
		{"--plan " + replace, "needs to know who makes and removes machines"},
		{"--plan " + replace + " --provider " + provider + " --surge 3", "it is for --surge 2"},
		{"--plan " + replace + " --strategy rolling", "it is for --strategy replace"},
		{"--plan " + save(upgrade.Replace, 1, upgrade.Managed) + " --provider " + provider, "names no command that raises the control plane"},
		{"--plan " + rolling, noCluster},
		{"--plan " + rolling + " --provider " + provider, "--provider goes with --strategy replace"},
		{"--plan " + atOnce, "say --accept-downtime"},
		{"--plan " + atOnce + " --accept-downtime", noCluster},
		{"--plan " + provider, `its kind is "Provider"`},
	} {
		out, errw, code := refit(t, append([]string{"upgrade", "apply", "--yes"}, strings.Fields(c.args)...)...)
		if code == exitDone || out != "" || !strings.Contains(strings.ReplaceAll(errw, "\n", " "), c.says) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want %q", c.args, code, out, errw, c.says)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"refit.dev/refit/internal/statedir"
)

// TestWrongUse is about what can be seen without a cluster: there is none here.
func TestWrongUse(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nowhere")
	t.Setenv("HOME", t.TempDir())
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"drain"}, "no node is given"},
		{[]string{"drain", "-l", " "}, "selects nothing in particular"},
		{[]string{"cordon", "-l", ","}, "--selector"},
		{[]string{"uncordon", "-l", "a=("}, "--selector"},
		{[]string{"drain", "a", "-l", "b=c"}, "use one of them"},
		{[]string{"drain", "a", "node/a"}, "node a is given twice"},
		{[]string{"drain", "pod/a"}, `"pod/a" is not a node`},
		{[]string{"drain", "a", "--dry-run=maybe"}, "want none, client or server"},
		{[]string{"drain", "a", "--timeout", "-1s"}, "--timeout"},
		{[]string{"drain", "a", "-o", "xml"}, "want one of"},
		{[]string{"drain", "a", "--confirm-node-is-off", "--pod-selector", "app=x"}, "--confirm-node-is-off and --pod-selector exclude each other"},
		{[]string{"drain", "a", "--wait-for-return"}, "--wait-for-return goes with --confirm-node-is-off"},
		{[]string{"eviction-timeout", "set", "1m", "--cluster", "-A"}, "--cluster and --all-namespaces exclude each other"},
		{[]string{"eviction-timeout", "set", "1m", "--ssh-user", "x"}, "--ssh-user goes with --cluster"},
		{[]string{"eviction-timeout", "set", "1m", "--cluster", "--patches", "a"}, "want an absolute path"},
		{[]string{"eviction-timeout", "set", "1m", "--cluster", "--ssh-key", "/nowhere"}, "--ssh-key"},
		{[]string{"restore"}, "accepts 1 arg"},
		{[]string{"restore"}, "want refit restore "},
		{[]string{"backup", "list", "/tmp/a b"}, "did you mean file:///tmp/a%20b?"},
		{[]string{"backup", "save", "--to", "/tmp/x", "--plaintext"}, "did you mean file:///tmp/x?"},
		{[]string{"backup", "verify", "file:///b/prod"}, "did you mean file:///b/prod/latest"},
		{[]string{"backup", "save", "--to", "file:///b", "--recipients-file", "usage_test.go", "--plaintext"}, "usage_test.go:1"},
		{[]string{"export", "d", "--recipients-file", "x"}, "--recipients-file goes with --secrets=encrypt"},
		{[]string{"upgrade", "plan", "--to", "1.37.2", "--strategy", "fast"}, "want rolling, all-at-once, replace or all"},
		{[]string{"restore", "/nowhere.db"}, "no such file"},
		{[]string{"restore", "/dev/null", "--data-dir", "etcd"}, "want an absolute path"},
		{[]string{"restore", "/dev/null", "--data-dir", "/"}, "want an absolute path"},
		{[]string{"restore", "/dev/null", "--ssh-key", "/nowhere"}, "--ssh-key"},
		{[]string{"export"}, "accepts 1 arg"},
		{[]string{"export", "d", "-n", "a/b"}, "--namespace"},
		{[]string{"export", "d", "--secrets", "maybe"}, "want omit, encrypt or plain"},
		{[]string{"export", "d", "--secrets", "encrypt"}, "there is no recipient"},
		{[]string{"export", "d", "--recipient", "age1x"}, "--recipient goes with --secrets=encrypt"},
		{[]string{"export", "d", "--secrets", "encrypt", "--recipient", "AGE-SECRET-KEY-1X"}, "it is a private key"},
		{[]string{"export", "d", "--format", "tar"}, "want files or list"},
		{[]string{"export", "-", "--format", "list", "-o", "json"}, "cannot take the list and events"},
		{[]string{"import"}, "requires at least 1 arg"},
		{[]string{"import", "/nowhere"}, "no such file"},
		{[]string{"import", "usage_test.go"}, "usage_test.go: "},
		{[]string{"import", "testdata", "--dry-run=client"}, "want none or server"},
		{[]string{"import", "testdata", "--identity", "/nowhere"}, "/nowhere"},
		{[]string{"maintain", "-l", " ", "--reboot"}, "selects nothing in particular"},
		{[]string{"maintain", "-l", "a=(", "--reboot"}, "--selector"},
		{[]string{"maintain", "a", "no/a", "--reboot"}, "node a is given twice"},
		{[]string{"maintain", "", "--reboot"}, "an argument is empty"},
		{[]string{"maintain", "a", "--all", "--reboot"}, "in more than one way"},
		{[]string{"maintain", "a", "--reboot", "--command", "true"}, "exclude each other"},
		{[]string{"maintain", "a", "--command", " "}, "--command CMD or --reboot"},
		{[]string{"maintain", "a", "--reboot", "--max-unavailable", ""}, "--max-unavailable"},
		{[]string{"maintain", "a", "--reboot", "--max-unavailable-per-zone", "-1"}, "--max-unavailable-per-zone -1"},
		{[]string{"maintain", "a", "--reboot", "--soak", "-1s"}, "--soak -1s"},
		{[]string{"maintain", "a", "--reboot", "--max-moves", "0.9"}, "--max-moves 0.9"},
		{[]string{"maintain", "a", "--reboot", "--max-moves", "NaN"}, "--max-moves NaN"},
		{[]string{"maintain", "a", "--reboot", "--max-moves", "inf"}, "--max-moves +Inf"},
		{[]string{"maintain", "a", "--reboot", "--work-estimate", "0s"}, "--work-estimate 0s"},
		{[]string{"maintain", "a", "--reboot", "--surge-singletons", "--disable-eviction"}, "exclude each other"},
		{[]string{"maintain", "--plan", ""}, "--plan is empty"},
		{[]string{"maintain", "--all", "--reboot", "--out", ""}, "--out is empty"},
		{[]string{"maintain", "--all", "--out", "/nowhere/plan.yaml", "--reboot"}, "--out /nowhere/plan.yaml: no such file"},
		{[]string{"maintain", "--all", "--reboot", "--out", "/dev/null"}, "not a regular file"},
		{[]string{"maintain", "--all", "--reboot", "--out", "usage_test.go"}, "is not a plan"},
		{[]string{"maintain", "--all", "--out", "-"}, "--command CMD or --reboot"},
		{[]string{"maintain", "--plan", "/nowhere/plan.yaml"}, "--plan /nowhere/plan.yaml: no such file"},
		{[]string{"maintain", "--plan", "usage_test.go"}, "--plan usage_test.go: it is neither YAML nor JSON"},
		{[]string{"maintain", "--plan", "testdata/drain.yaml"}, "--plan testdata/drain.yaml: it is "},
		{[]string{"maintain", "--plan", "-"}, "--plan -: it is empty"},
		{[]string{"maintain", "node-01", "--plan", "p"}, "--plan excludes names of nodes"},
		{[]string{"maintain", "--plan", "p", "--all", "--soak", "1m"}, "--plan excludes --all, --soak"},
		{[]string{"maintain", "--plan", "p", "--ready-timeout", "1m"}, "--plan excludes --ready-timeout"},
		{[]string{"maintain", "--plan", "p", "--out", "q"}, "--plan excludes --out"},
		{[]string{"eviction-timeout", "set"}, "want one duration, such as 1m, and not 0 words"},
		{[]string{"eviction-timeout", "set", "300"}, `"300" is no duration: say 30s, 5m or 1h30m`},
		{[]string{"eviction-timeout", "set", "--", "-1s"}, "a time cannot be negative"},
		{[]string{"eviction-timeout", "set", "-1m"}, "a time cannot be negative"},
		{[]string{"eviction-timeout", "set", "--nonsense"}, "unknown flag: --nonsense"},
		{[]string{"eviction-timeout", "get", "-n", "shop", "-A"}, "exclude each other"},
		{[]string{"eviction-timeout", "get", "-l", " "}, "selects nothing in particular"},
		{[]string{"eviction-timeout", "set", "1500ms"}, "want whole seconds"},
		{[]string{"eviction-timeout", "set", "10000h"}, "is more than 720h"},
		{[]string{"eviction-timeout", "set", "9999999999h"}, "is no duration"},
		{[]string{"eviction-timeout", "set", "1m", "-A", "-n", "shop"}, "exclude each other"},
		{[]string{"eviction-timeout", "set", "1m", "-A", "--workload", "deploy/a"}, "use --namespace instead"},
		{[]string{"eviction-timeout", "set", "1m", "-l", "a=b", "--workload", "deploy/a"}, "use one of them"},
		{[]string{"eviction-timeout", "set", "1m", "-l", " "}, "selects nothing in particular"},
		{[]string{"eviction-timeout", "set", "1m", "--workload", "web"}, "want KIND/NAME"},
		{[]string{"eviction-timeout", "set", "1m", "--workload", "node/a"}, `"node" is no kind of workload`},
		{[]string{"eviction-timeout", "set", "1m", "--workload", "deploy/a", "--dry-run=maybe"}, "want none, client or server"},
		{[]string{"eviction-timeout", "get", "-o", "xml"}, "want one of"},
		{[]string{"eviction-timeout", "set", "1m", "-A", "-o", "wide"}, "want one of"},
		{[]string{"outage"}, "no node is given"},
		{[]string{"outage", "a", "a"}, "node a is given twice"},
		{[]string{"outage", "a", "--all"}, "use one of them"},
		{[]string{"outage", "--zone", "a", "-l", "b=c"}, "use one of them"},
		{[]string{"outage", "--zone", ""}, "--zone is empty"},
		{[]string{"restore", "snapshot.db", "--machines", ""}, "--machines is empty"},
		{[]string{"restore", ""}, "an argument is empty"},
		{[]string{"export", "DIR", "--kind", "a,"}, "--kind is empty"},
		{[]string{"outage", "--zone", "a,"}, "--zone is empty"},
		{[]string{"outage", "-l", ""}, "--selector is empty"},
		{[]string{"drain", "-l", ""}, "--selector is empty"},
		{[]string{"twin", "node", "fail"}, "no node is given"},
		{[]string{"outage", "a", "--for", "-5m"}, "--for -5m: want more than nothing"},
		{[]string{"outage", "a", "--for", "0"}, "--for 0s: want more than nothing"},
		{[]string{"outage", "a", "--for", "99999h"}, "no more than 8760h"},
		{[]string{"outage", "a", "--for", "soon"}, `invalid argument "soon"`},
		{[]string{"outage", "a", "--node-eviction-rate", "-1"}, `--node-eviction-rate "-1": want a number from 0 on`},
		{[]string{"outage", "a", "--node-monitor-grace-period", "0s"}, "want more than nothing"},
		{[]string{"outage", "a", "--default-unreachable-toleration-seconds", "-1"}, "want whole seconds from 0"},
		{[]string{"outage", "a", "-o", "xml"}, "want one of"},
		{[]string{"maintain", "a", "--reboot", "--dry-run=server"}, "a plan is not made by the API server"},
		{[]string{"maintain", "a", "--reboot", "--dry-run=maybe"}, "want client or none, or no value"},
		{[]string{"upgrade", "plan"}, "--to is missing"},
		{[]string{"upgrade", "plan", "--to", "latest"}, `--to: version "latest"`},
		{[]string{"upgrade", "plan", "--to", "2.0"}, `--to: version "2.0"`},
		{[]string{"upgrade", "plan", "--to", "1.37", "--worker-hops", "none"}, `--worker-hops "none": want fewest or each`},
		{[]string{"upgrade", "plan", "--to", "1.37", "--max-unavailable", "0"}, "--max-unavailable"},
		{[]string{"upgrade", "plan", "--to", "1.37", "--out", "usage_test.go"}, "is not a plan"},
		{[]string{"upgrade", "plan", "--plan", "p", "--to", "1.37"}, "--plan excludes --to"},
		{[]string{"upgrade", "plan", "--plan", "usage_test.go"}, "--plan usage_test.go: it is neither YAML nor JSON"},
		{[]string{"upgrade", "plan", "--plan", "testdata/drain.yaml"}, "--plan testdata/drain.yaml: it is "},
		{[]string{"upgrade", "plan", "--to", "1.37", "-o", "xml"}, "want one of"},
		{[]string{"upgrade", "plan", "--to", "1.37", "--binaries", "https://me:hunter2@example.com/r"}, "--binaries: a URL with a login"},
		{[]string{"upgrade", "apply", "--to", "1.37", "--binaries", "https://example.com/r?token=hunter2", "--yes"}, "--binaries: a URL with a login or a query"},
		{[]string{"upgrade", "plan", "--to", "1.37", "--binaries", "/nowhere"}, "--binaries: stat /nowhere: no such file"},
		{[]string{"upgrade", "plan", "--to", "1.37", "--inventory", "/nowhere/inventory"}, "/nowhere/inventory"},
		{[]string{"upgrade", "status", "x"}, "refit upgrade status takes no arguments"},
		{[]string{"upgrade", "nonsense"}, "unknown command"},
		{[]string{"check"}, "names no cluster"},
		{[]string{"check", "node-01"}, "refit check takes no arguments: node-01\nhint: refit check --help"},
		{[]string{"runs", "show", "a", "b"}, "hint: refit runs show --help"},
		{[]string{"nonsense"}, "unknown command"},
		{[]string{"help", "nonsense"}, `unknown command "nonsense" for "refit"`},
		{[]string{"help", "runs", "nonsense"}, `unknown command "nonsense" for "refit runs"`},
	} {
		out, errw, code := refit(t, tc.args...)
		if strings.Contains(out+errw, "hunter2") {
			t.Errorf("%q: a login is told: %q, %q", tc.args, out, errw)
		}
		if code != exitUsage || out != "" || !strings.Contains(errw, tc.says) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want exit %d and %q", tc.args, code, out, errw, exitUsage, tc.says)
		}
	}
}

// TestDryRunOfKubectl: maintain takes what kubectl's users write, where it means the same.
func TestDryRunOfKubectl(t *testing.T) {
	for value, want := range map[string]bool{"--dry-run": true, "--dry-run=client": true, "--dry-run=true": true, "--dry-run=1": true, "--dry-run=none": false, "--dry-run=false": false} {
		var f maintainFlags
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.add(flags)
		if err := flags.Parse([]string{value}); err != nil || f.dryRun != want {
			t.Errorf("%s: %t, %v", value, f.dryRun, err)
		}
	}
}

// TestComplete is what a shell offers that asks no cluster.
func TestComplete(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\ncontexts: [{name: east, context: {cluster: e, user: jane}}]\nclusters: [{name: e, cluster: {server: https://east}}]\nusers: [{name: jane, user: {}}]\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv(statedir.Env, t.TempDir())
	for want, args := range map[string][]string{
		"text\nwide\njson\nyaml\n": {"check", "-o", ""},
		"stop\nrerun\ndone\n":      {"runs", "resume", "--on-unknown-command", ""},
		"east\n":                   {"drain", "--context", ""},
		"e\n":                      {"--cluster", ""},
		"jane\n":                   {"maintain", "--user", ""},
		":4\n":                     {"twin", "node", "fail", ""}, // there is no twin, and no file is a node
		"none\nclient\nserver\n":   {"cordon", "--dry-run="},
		"true\nfalse\n":            {"outage", "--disable-force-detach-on-timeout", ""},
	} {
		out, _, code := refit(t, append([]string{"__complete"}, args...)...)
		if code != exitDone || !strings.HasPrefix(out, want) {
			t.Errorf("%q: exit %d, offers\n%s", args, code, out)
		}
	}
}

func TestVersion(t *testing.T) {
	for format, want := range map[string]string{
		"text": "refit " + version() + "\n",
		"json": "{\n  \"version\": \"" + version() + "\"\n}\n",
		"yaml": "version: " + version() + "\n",
	} {
		if out, errw, code := refit(t, "version", "-o", format); code != exitDone || out != want || errw != "" {
			t.Errorf("-o %s: exit %d, stdout %q, stderr %q", format, code, out, errw)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

func TestTwin(t *testing.T) {
	twintest.FindBinary(t)
	state := t.TempDir()
	t.Setenv("REFIT_STATE_DIR", state)
	t.Cleanup(func() { refit(t, "twin", "down", "--all") })

	out, errw, code := refit(t, "twin", "status")
	if code != 0 || out != "" || !strings.Contains(errw, "there is no twin") {
		t.Errorf("status of none: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	up := []string{"twin", "up", "--name", "t1", "--nodes", "2", "--zones", "1", "--kubernetes", "v1.36"}
	out, errw, code = refit(t, up...)
	kubeconfig := filepath.Join(state, "twins", "t1", "admin.kubeconfig")
	if code != 0 || out != "export KUBECONFIG="+kubeconfig+"\n" || !strings.Contains(errw, "twin t1 is up") {
		t.Fatalf("up: exit %d, stdout %q, stderr %q", code, out, errw)
	}
	if out, _, code := refit(t, append(up, "-o", "json")...); code != 0 || !strings.Contains(out, `"state": "running"`) {
		t.Errorf("up again: exit %d, %s", code, out)
	}
	_, errw, code = refit(t, "twin", "up", "--name", "t1", "--nodes", "3")
	if code != 2 || !strings.Contains(errw, "nodes is 2, not 3") || !strings.Contains(errw, "hint: ") {
		t.Errorf("up with other flags: exit %d, stderr %q", code, errw)
	}
	out, _, code = refit(t, "twin", "kubeconfig", "--name", "t1", "--maintainer")
	if code != 0 || out != filepath.Join(state, "twins", "t1", "maintainer.kubeconfig")+"\n" {
		t.Errorf("kubeconfig: exit %d, %q", code, out)
	}
	out, _, code = refit(t, "twin", "status", "--name", "t1")
	if code != 0 || !strings.HasPrefix(out, "NAME   VERSION   NODES   PODS   STATE     AGE\nt1     v1.36.3   2/2     0/0    running") ||
		!strings.Contains(out, "\nkube-apiserver            ready") {
		t.Errorf("status: exit %d,\n%s", code, out)
	}
	out, _, code = refit(t, "twin", "status", "-o", "json")
	var list struct{ Twins []twin.Status }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Twins) != 1 || len(list.Twins[0].Parts) != 5 {
		t.Errorf("status: exit %d, %v,\n%s", code, err, out)
	}
	for _, verb := range []string{"fail", "recover", "reboot"} {
		out, errw, code := refit(t, "twin", "node", verb, "node-01", "--name", "t1")
		if code != 0 || !strings.HasPrefix(out, "node/node-01 ") {
			t.Errorf("node %s: exit %d, stdout %q, stderr %q", verb, code, out, errw)
		}
	}
	if _, errw, code := refit(t, "twin", "node", "fail", "node-07", "--name", "t1"); code != 1 || !strings.Contains(errw, "has no node node-07") {
		t.Errorf("fail of no node: exit %d, stderr %q", code, errw)
	}
	if _, errw, code := refit(t, "twin", "down", "--name", "t1"); code != 0 || errw != "twin t1 is gone\n" {
		t.Errorf("down: exit %d, stderr %q", code, errw)
	}
}

func TestTwinWrongUse(t *testing.T) {
	twintest.FindBinary(t)
	t.Setenv("REFIT_STATE_DIR", t.TempDir())
	for _, tc := range []struct{ args, says string }{
		{"up --name Big", `twin name "Big"`},
		{"up --nodes -1", "-1 nodes"},
		{"up --nodes 2 --zones 3", "3 zones for 2 nodes"},
		{"up --kubernetes 1.20", "1.34, 1.35, 1.36, 1.37"},
		{"up --scenario nothing", "one of the built-in scenarios: shop, stuck"},
		{"up --node-cpu lots", "want a quantity"},
		{"up --pod-ready -1s", "cannot be negative"},
		{"up --timeout 0s", "--timeout"},
		{"up extra", "takes no arguments"},
		{"up -o xml", "want one of"},
		{"down --name none", "there is no such twin"},
		{"down --name x --all", "do not go together"},
		{"kubeconfig --name none", "twin up --name none"},
		{"status --name none", "there is no such twin"},
		{"node fail", "no node is given"},
		{"node recover node-01 --name none", "there is no such twin"},
	} {
		_, errw, code := refit(t, append([]string{"twin"}, strings.Fields(tc.args)...)...)
		if code != 2 || !strings.Contains(errw, tc.says) {
			t.Errorf("%s: exit %d, stderr %q; want exit 2 and %q", tc.args, code, errw, tc.says)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c.d": "/a/b-c.d", "/a b": "'/a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}

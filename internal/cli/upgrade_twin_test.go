// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
	"refit.dev/refit/upgrade"
)

// TestUpgradeOfNoKubeadm: a twin has a control plane that is not to be seen, and none of
// kubeadm's. All that can be told of it is told, and no plan is saved.
func TestUpgradeOfNoKubeadm(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 2, Wait: true})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	t.Setenv(statedir.Env, t.TempDir())

	out, errw, code := refit(t, "upgrade", "status", "-o", "json")
	var progress upgrade.Progress
	if err := json.Unmarshal([]byte(out), &progress); err != nil || code != exitDone {
		t.Fatalf("exit %d, %v, stderr %q", code, err, errw)
	}
	if len(progress.Nodes) != 2 || progress.Hosted == "" || progress.Version.IsZero() || progress.Nodes[0].Versions["kubelet"] == "" {
		t.Errorf("%+v", progress)
	}
	if out, _, code := refit(t, "upgrade", "status"); code != exitDone || !strings.Contains(out, "It is not to be seen as a pod") {
		t.Errorf("exit %d, %s", code, out)
	}

	file := filepath.Join(t.TempDir(), "plan.yaml")
	out, errw, code = refit(t, "upgrade", "plan", "--to", progress.Version.String(), "--no-hosts", "--out", file)
	if code != exitBlocked || !strings.Contains(out, "BLOCKER "+upgrade.NotKubeadm) || !strings.Contains(errw, "was not saved") {
		t.Errorf("exit %d, stdout %s, stderr %s", code, out, errw)
	}
	var plan upgrade.SavedPlan
	out, _, code = refit(t, "upgrade", "plan", "--to", progress.Version.String(), "--no-hosts", "-o", "json")
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != exitBlocked || plan.Kind != "UpgradePlan" || len(plan.Components) == 0 {
		t.Errorf("exit %d, %v, %s", code, err, out)
	}

	// Who may maintain need not be allowed to see what kubeadm keeps: that is said.
	t.Setenv("KUBECONFIG", tw.MaintainerKubeconfig())
	out, _, code = refit(t, "upgrade", "plan", "--to", progress.Version.String(), "--no-hosts")
	if code != exitBlocked || !strings.Contains(out, "kube-system/kubeadm-config: could not be read") {
		t.Errorf("exit %d, %s", code, out)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// TestUpgradePlanWithoutALook: of a plan that was made with --no-hosts nothing has changed when machines do not answer later; and where
// nothing can be done there are no figures.
func TestUpgradePlanWithoutALook(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 2, Kubernetes: "1.36", StaticPods: true, Wait: true})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	t.Setenv(statedir.Env, t.TempDir())
	dir := t.TempDir()
	nodes, err := twintest.Client(t, tw).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	inventory := "apiVersion: refit.dev/v1alpha1\nkind: Inventory\nnodes:\n"
	for _, n := range nodes.Items {
		inventory += "  " + n.Name + ": {address: 127.0.0.1, port: 1}\n" // where nobody listens
	}
	where, file := filepath.Join(dir, "inventory.yaml"), filepath.Join(dir, "plan.yaml")
	if err := os.WriteFile(where, []byte(inventory), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errw, code := refit(t, "upgrade", "plan", "--to", "v1.37.2", "--no-hosts", "--out", file); code != exitDone {
		t.Fatalf("exit %d, %s\n%s", code, errw, out)
	}
	for _, args := range [][]string{{"plan", "--plan", file}, {"apply", "--plan", file, "--yes"}} {
		_, errw, code := refit(t, append(append([]string{"upgrade"}, args...), "--inventory", where)...)
		if code != exitBlocked || !strings.Contains(errw, "made without a look at its machines") || strings.Contains(errw, "has changed") || strings.Contains(errw, "boot ID") {
			t.Errorf("%v: exit %d, %s", args, code, errw)
		}
	}
	out, errw, code := refit(t, "upgrade", "plan", "--to", "v1.37.2", "--strategy", "all", "--inventory", where)
	if code != exitBlocked || strings.Contains(out, "0s") || strings.Contains(out, "budget") || !strings.Contains(out, "refit upgrade plan --to v1.37.2 --strategy rolling\n") {
		t.Errorf("exit %d, %s\n%s", code, errw, out)
	}
}

// TestUpgradeManaged: the control plane of a twin is somebody else's, if that is said.
func TestUpgradeManaged(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 2, Kubernetes: "1.36", Wait: true})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	t.Setenv(statedir.Env, t.TempDir())
	out, errw, code := refit(t, "upgrade", "plan", "--to", "v1.37", "--method", "managed", "--strategy", "replace")
	if code != exitDone || !strings.Contains(out, upgrade.ManagedUnseen) || strings.Contains(out, "etcd to ") {
		t.Errorf("exit %d, %s\n%s", code, out, errw)
	}
	provider := filepath.Join(t.TempDir(), "provider.yaml")
	const without = "apiVersion: refit.dev/v1alpha1\nkind: Provider\ncreate: {command: [none]}\ndelete: {command: [none]}\nlist: {command: [none]}\n"
	if err := os.WriteFile(provider, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"goes with --strategy replace":                   {},
		"names no command that raises the control plane": {"--strategy", "replace", "--provider", provider},
		"etcd cannot be reached":                         {"--strategy", "replace", "--provider", provider + "2", "--backup-dir", t.TempDir()},
	} {
		if strings.HasPrefix(want, "etcd") {
			if err := os.WriteFile(provider+"2", []byte(without+"upgrade: {command: [none]}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, errw, code := refit(t, append([]string{"upgrade", "apply", "--to", "v1.37", "--method", "managed", "--yes"}, args...)...)
		if code != exitUsage || !strings.Contains(errw, want) {
			t.Errorf("%v: exit %d, %s", args, code, errw)
		}
	}
}

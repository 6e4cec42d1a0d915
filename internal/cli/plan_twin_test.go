// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestSavedPlan: a plan is shown, saved, found to be out of date whenever the
// cluster has changed, and carried out when it has not.
func TestSavedPlan(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 6, Scenario: "shop", Wait: true})
	t.Setenv("KUBECONFIG", tw.Kubeconfig())
	t.Setenv(statedir.Env, t.TempDir())
	client := twintest.Client(t, tw)
	awaitBudgets(t, client, full)
	file := filepath.Join(t.TempDir(), "plan.yaml")
	allow := []string{"--force", "--delete-emptydir-data"}
	must := func(code int, args ...string) (out, errw string) {
		t.Helper()
		out, errw, got := refit(t, args...)
		if got != code {
			t.Fatalf("%v: exit %d, want %d; stdout:\n%s\nstderr:\n%s", args, got, code, out, errw)
		}
		return out, errw
	}

	// What blocks is part of the plan, also if it is not said what is to be done.
	out, _ := must(exitBlocked, "maintain", "--all", "--dry-run", "-o", "json")
	var shown struct {
		LowerBoundSeconds, PredictedSeconds float64
		Nodes                               []struct {
			Name         string
			StartSeconds *float64
			Moves        []any
		}
		Blockers []struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.LowerBoundSeconds <= 0 || shown.PredictedSeconds < shown.LowerBoundSeconds || len(shown.Nodes) != 6 ||
		shown.Nodes[0].StartSeconds == nil || len(shown.Blockers) == 0 || shown.Blockers[0].Code != run.FlagMissing {
		t.Errorf("%+v", shown)
	}
	if out, _ := must(exitBlocked, "maintain", "--all", "--reboot", "--out", file); !strings.Contains(out, "BLOCKER "+run.FlagMissing) {
		t.Errorf("the blockers are not shown:\n%s", out)
	}
	if out, errw := must(exitBlocked, "maintain", "--all", "--reboot", "--out", "-"); out != "" || !strings.Contains(errw, "BLOCKER "+run.FlagMissing) {
		t.Errorf("stdout is for a plan that can be carried out:\n%s\nstderr:\n%s", out, errw)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a plan was saved that cannot be carried out: %v", err)
	}

	out, errw := must(exitDone, append([]string{"maintain", "--all", "--reboot", "--max-unavailable", "2", "--work-estimate", "10s", "--out", file}, allow...)...)
	if !strings.Contains(out, "maintain 6 nodes of 6") || !strings.Contains(errw, "the plan is in "+file) {
		t.Errorf("stdout:\n%s\nstderr:\n%s", out, errw)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if out, _ := must(exitDone, "maintain", "--plan", file, "--dry-run"); !strings.Contains(out, "maintain 6 nodes of 6") {
		t.Errorf("stdout:\n%s", out)
	}
	if _, errw := must(exitUsage, "maintain", "--plan", file); !strings.Contains(errw, "say --yes") {
		t.Errorf("stderr:\n%s", errw)
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"it is damaged":               {`\neager: `, "\nzealous: "},
		"version":                     {`v1alpha1`, "v9"},
		"another cluster":             {`(server: .*\n    uid: )`, "${1}x"},
		"it does not make sense":      {`\n  order:\n`, "\n  order:\n  - node-01\n"},
		"is not that of the spec":     {`\n  uid: `, "\n  uid: x"},
		"it is neither YAML nor JSON": {`apiVersion`, "\t{"},
	} {
		bad := filepath.Join(t.TempDir(), "bad.yaml")
		if err := os.WriteFile(bad, regexp.MustCompile(edit[0]).ReplaceAll(good, []byte(edit[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errw := must(exitUsage, "maintain", "--plan", bad, "--yes"); !strings.Contains(errw, name) {
			t.Errorf("want %q in:\n%s", name, errw)
		}
	}

	stale := func(change string) {
		t.Helper()
		_, errw := must(exitBlocked, "maintain", "--plan", file, "--yes")
		if !strings.Contains(errw, change) || !strings.Contains(errw, "hint: make a new plan; nothing was changed") {
			t.Errorf("want %q in:\n%s", change, errw)
		}
	}
	must(exitDone, "cordon", "node-02")
	stale("node node-02 was cordoned")
	must(exitDone, "uncordon", "node-02")

	pdbs := client.PolicyV1().PodDisruptionBudgets("shop")
	patch := func(spec string) {
		t.Helper()
		if _, err := pdbs.Patch(t.Context(), "orders", types.MergePatchType, []byte(spec), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch(`{"spec":{"maxUnavailable":2}}`)
	stale("PodDisruptionBudget shop/orders says maxUnavailable: 2 now, not maxUnavailable: 1")
	patch(`{"spec":{"maxUnavailable":1}}`)

	must(exitDone, "maintain", "--plan", file, "--yes")

	if err := client.CoreV1().Nodes().Delete(t.Context(), "node-06", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stale("node node-06 is gone")
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/budget"
	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// refit runs a command line and returns what it wrote and its exit code.
func refit(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errw bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errw}
	code = Run(t.Context(), streams, "refit", args)
	return out.String(), errw.String(), code
}

// awaitBudgets waits until every budget is as wanted: the disruption controller
// counts pods a moment after they have changed. Budgets that share a pod are left
// out: for each change of the pod the controller counts for one of them, whichever
// it comes upon first (getPdbForPod in pkg/controller/disruption), so that the
// status of the others may stay old.
func awaitBudgets(t *testing.T, client kubernetes.Interface, wanted func(*cluster.Budget) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a guard against hanging
	defer cancel()
	ticker := clock.RealClock{}.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		s, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindPod, cluster.KindBudget))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Budgets, func(b *cluster.Budget) bool {
			alone := !slices.ContainsFunc(b.Pods, func(p *cluster.Pod) bool { return len(p.Budgets) > 1 })
			return alone && !wanted(b)
		})
		if i < 0 {
			return
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			t.Fatalf("budget %s is not as wanted: %+v", s.Budgets[i].Name, s.Budgets[i].Status)
		}
	}
}

// counted tells whether the status of a budget is that of its pods, full whether
// there are as many healthy ones as there should be, too.
func counted(b *cluster.Budget) bool {
	healthy := int32(0)
	for _, p := range b.Pods {
		if budget.Healthy(p.Pod) {
			healthy++
		}
	}
	return b.Status.ObservedGeneration >= b.Generation && b.Status.ExpectedPods > 0 && b.Status.CurrentHealthy == healthy
}

func full(b *cluster.Budget) bool {
	return counted(b) && b.Status.CurrentHealthy == b.Status.ExpectedPods
}

func checked(t *testing.T, text string) (all []cluster.Finding, counts map[string]int) {
	t.Helper()
	var got struct {
		Findings []cluster.Finding `json:"findings"`
		Counts   map[string]int    `json:"counts"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return got.Findings, got.Counts
}

// TestCheckShop: the shop can be maintained, and somebody who may do no more
// than maintain it sees the same.
func TestCheckShop(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Scenario: "shop", Wait: true})
	awaitBudgets(t, twintest.Client(t, tw), full)
	out, errw, code := refit(t, "check", "-o", "json", "--kubeconfig", tw.Kubeconfig())
	all, counts := checked(t, out)
	if code != 0 || counts["blocker"] != 0 || len(all) == 0 || errw != "" {
		t.Errorf("exit %d, %d blockers of %d findings, stderr %q:\n%s", code, counts["blocker"], len(all), errw, out)
	}
	documented := map[string]bool{}
	for _, c := range check.Codes() {
		documented[c.Name] = true
	}
	for _, f := range all {
		if !documented[f.Code] {
			t.Errorf("undocumented: %+v", f)
		}
	}
	t.Run("text", func(t *testing.T) {
		out, _, code := refit(t, "check", "--kubeconfig", tw.Kubeconfig())
		if code != 0 || !strings.HasPrefix(out, "WARNING ") || !strings.Contains(out, "\n12 nodes, ") {
			t.Errorf("exit %d:\n%s", code, out)
		}
	})
	t.Run("as a maintainer", func(t *testing.T) {
		out, errw, code := refit(t, "check", "-o", "json", "--kubeconfig", tw.MaintainerKubeconfig())
		seen, _ := checked(t, out)
		unread := slices.DeleteFunc(slices.Clone(seen), func(f cluster.Finding) bool { return f.Code != cluster.CodeUnread })
		seen = slices.DeleteFunc(seen, func(f cluster.Finding) bool { return f.Code == cluster.CodeUnread })
		if code != 0 || !slices.Equal(seen, all) {
			t.Errorf("exit %d, stderr %q, findings %v, want %v", code, errw, seen, all)
		}
		t.Logf("could not read: %v", unread)
	})
}

// TestCheckStuck: what the scenario says of itself is found.
func TestCheckStuck(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Scenario: "stuck", Wait: true})
	awaitBudgets(t, twintest.Client(t, tw), counted)
	out, _, code := refit(t, "check", "-o", "json", "--kubeconfig", tw.Kubeconfig())
	all, _ := checked(t, out)
	if code != exitBlocked {
		t.Errorf("exit %d", code)
	}
	for _, want := range []struct{ code, object string }{
		{check.BudgetNeverAllows, "PodDisruptionBudget stuck/never-lets-go"},
		{check.BudgetSingleReplica, "PodDisruptionBudget stuck/singleton"},
		{check.PodTwoBudgets, "Deployment stuck/two-budgets"},
		{check.BudgetWaiting, "PodDisruptionBudget stuck/eaten"},
		{check.PodFinalizer, "Deployment stuck/finalizer"},
		{check.PodUnmanaged, "Pod stuck/bare"},
		{check.PodLocalData, "Pod stuck/bare"},
		{check.NoRoom, "Deployment stuck/no-room"},
	} {
		if !slices.ContainsFunc(all, func(f cluster.Finding) bool { return f.Code == want.code && f.Object.String() == want.object }) {
			t.Errorf("no %s about %s in\n%s", want.code, want.object, out)
		}
	}
}

func TestCheckOfNothing(t *testing.T) {
	missing := t.TempDir() + "/none"
	broken := t.TempDir() + "/broken"
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := t.TempDir() + "/nobody"
	config := "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n" +
		"clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: x, user: {}}]\n"
	if err := os.WriteFile(nobody, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a format that is not there": {[]string{"check", "-o", "xml"}, exitUsage, `--output "xml"`},
		"an argument":                {[]string{"check", "node-1"}, exitUsage, "node-1"},
		"no kubeconfig":              {[]string{"check", "--kubeconfig", missing}, exitUsage, "hint: "},
		"a broken kubeconfig":        {[]string{"check", "--kubeconfig", broken}, exitUsage, "hint: "},
		"a server that is not there": {[]string{"check", "--kubeconfig", nobody}, exitFailed, "cannot be reached"},
		"a colour that is not there": {[]string{"check", "--color", "sometimes", "--kubeconfig", nobody}, exitUsage, `--color "sometimes"`},
	} {
		t.Run(name, func(t *testing.T) {
			out, errw, code := refit(t, tc.args...)
			if code != tc.code || !strings.Contains(errw, tc.says) || out != "" {
				t.Errorf("exit %d, want %d; stdout %q, stderr %q, want %q in it", code, tc.code, out, errw, tc.says)
			}
		})
	}
}

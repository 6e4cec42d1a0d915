// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/statedir"
	"refit.dev/refit/plan"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestMaintainThatCannotWork: what waiting does not help is said before anything is
// touched, by maintain as by its dry run.
func TestMaintainThatCannotWork(t *testing.T) {
	tw := twintest.Start(t, twin.Options{Nodes: 3, NodeLease: 8 * time.Second, NodeMonitorGracePeriod: 10 * time.Second})
	t.Setenv("KUBECONFIG", tw.MaintainerKubeconfig())
	t.Setenv(statedir.Env, t.TempDir())
	client := twintest.Client(t, tw)
	nodes := client.CoreV1().Nodes()
	patch := func(node, what string) {
		t.Helper()
		if _, err := nodes.Patch(t.Context(), node, types.MergePatchType, []byte(what), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(t *testing.T, code, says, hints string, args ...string) {
		t.Helper()
		args = append([]string{"maintain", "--reboot"}, args...)
		_, errw, exit := refit(t, append(args, "--yes")...)
		if exit != exitBlocked || !strings.Contains(errw, says) || !strings.Contains(errw, hints) || !strings.Contains(errw, "nothing was changed") {
			t.Errorf("exit %d, stderr, with %q and %q in it:\n%s", exit, says, hints, errw)
		}
		out, errw, exit := refit(t, append(args, "--dry-run")...)
		if exit != exitBlocked || !strings.Contains(out, "BLOCKER "+code) || !strings.Contains(errw, hints) {
			t.Errorf("exit %d, stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", exit, code, out, hints, errw)
		}
		out, _, exit = refit(t, append(args, "--dry-run", "-o", "json")...)
		var p plan.Plan
		if err := json.Unmarshal([]byte(out), &p); err != nil || exit != exitBlocked ||
			!slices.ContainsFunc(p.Blockers, func(f cluster.Finding) bool { return f.Code == code && f.Hint != "" }) {
			t.Errorf("exit %d, %v:\n%s", exit, err, out)
		}
		list, err := nodes.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if _, marked := cluster.MarkOf(&list.Items[i]); marked || cluster.TaintedBy(&list.Items[i]) != "" {
				t.Errorf("node %s was touched", list.Items[i].Name)
			}
		}
	}

	t.Run("a budget that cannot be computed", func(t *testing.T) {
		withoutScale(t, client, "node-02")
		refused(t, plan.BudgetSyncFailed, "budget default/pg lets nothing go as long as the disruption controller cannot compute it", "minAvailable as a number", "node-02")
		if out, _, code := refit(t, "maintain", "node-01", "--reboot", "--dry-run"); code != exitDone {
			t.Errorf("the other nodes: exit %d\n%s", code, out)
		}
		if err := client.PolicyV1().PodDisruptionBudgets("default").Delete(t.Context(), "pg", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("nothing can be started", func(t *testing.T) {
		for _, name := range []string{"node-01", "node-03"} {
			patch(name, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
		}
		patch("node-03", `{"spec":{"unschedulable":true}}`)
		refused(t, plan.NodeNeverEmptied, "node node-01 cannot be emptied, and waiting does not help: control-plane nodes go one at a time", "bring back the control-plane node", "node-01", "--max-unavailable", "2")
	})
	t.Run("a dead node", func(t *testing.T) {
		if err := tw.FailNode(t.Context(), "node-02"); err != nil {
			t.Fatal(err)
		}
		untilNode(t, client, "node-02", cluster.Lost)
		refused(t, run.NodeLost, "node node-02 is lost: its kubelet does not answer", "refit drain node-02 --confirm-node-is-off", "node-02")
		refused(t, run.NodeLost, "1 pod would stay Terminating", "or leave that node out: refit maintain node-01 node-03", "--all")
		if out, _, code := refit(t, "maintain", "node-02", "--reboot", "--dry-run", "--grace-period", "0"); code != exitDone {
			t.Errorf("pods that are deleted at once: exit %d\n%s", code, out)
		}
	})
}

// withoutScale puts a pod on a node whose controller nobody knows, with a budget that
// needs the controller's scale, and waits until the disruption controller has given up.
func withoutScale(t *testing.T, client kubernetes.Interface, node string) {
	t.Helper()
	labels := map[string]string{"app": "pg"}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pg-0", Labels: labels, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "example.com/v1", Kind: "Postgres", Name: "pg", UID: "pg", Controller: ptr.To(true)},
		}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "c"}}},
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pdbs := client.PolicyV1().PodDisruptionBudgets("default")
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "pg"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
	}}
	if _, err := pdbs.Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := clock.RealClock{}.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		now, err := pdbs.Get(ctx, "pg", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		running, err := client.CoreV1().Pods("default").Get(ctx, "pg-0", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, failed := budget.SyncFailed(now); failed && running.Status.Phase == corev1.PodRunning {
			return
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			t.Fatalf("the budget is computed: %+v", now.Status)
		}
	}
}

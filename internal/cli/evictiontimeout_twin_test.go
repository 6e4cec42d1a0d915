// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/toleration"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestEvictionTimeout is refit eviction-timeout on a cluster, with the rights that
// its documentation asks for: what it shows, what it changes, and what it leaves.
func TestEvictionTimeout(t *testing.T) {
	tw := twintest.Start(t, twin.Options{
		Nodes: 3, Zones: 1, Scenario: "testdata/evictiontimeout.yaml", Wait: true, StaticPods: true, DefaultToleration: 70 * time.Second,
	})
	t.Setenv("KUBECONFIG", tw.EvictionTimeoutKubeconfig())
	client := twintest.Client(t, tw)

	t.Run("get", func(t *testing.T) {
		out, errw, code := refit(t, "eviction-timeout", "get")
		for _, want := range []string{
			"node.kubernetes.io/not-ready    1m10s          flag of kube-apiserver on node-01\n",
			"node.kubernetes.io/unreachable  1m10s          flag of kube-apiserver on node-01\n",
			"shop       Deployment/hardy  for ever         for ever     1     it tolerates every taint\n",
			"shop       StatefulSet/db    1m10s (default)  10s          2     it has a time of its own for unreachable alone\n",
			"shop       CronJob/weekly    1m10s (default)  20s          0     it has a time of its own for unreachable alone\n",
			"The pods of 1 DaemonSet stay on a lost node for ever",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("exit %d, %s: no %q in:\n%s", code, errw, want, out)
			}
		}
	})

	t.Run("get without the right to read CronJobs", func(t *testing.T) {
		withoutCronJobs(t, client, "half")
		out, errw, code := refit(t, "eviction-timeout", "get", "--kubeconfig", tw.Kubeconfig(), "--as", "half")
		if code != exitDone || !strings.Contains(out, "Note: CronJobs may not be read by this user") || strings.Contains(out, "CronJob/weekly") {
			t.Errorf("exit %d, %s:\n%s", code, errw, out)
		}
	})

	before := tolerated(t, client)
	steps := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string   // parts
		changed        []string // lines of tolerated
	}{
		{"without a selection", []string{"30s"}, exitDone, "- --default-unreachable-toleration-seconds=30    # now 1m10s: flag of kube-apiserver on node-01", "", nil},
		{"for kubeadm", []string{"30s"}, exitDone, "       - name: default-not-ready-toleration-seconds\n         value: \"30\"\n", "", nil},
		{"nobody to ask", []string{"30s", "-n", "shop", "--workload", "deploy/web"}, exitUsage, "", "say --yes", nil},
		{"unknown", []string{"30s", "-n", "shop", "--workload", "deploy/wep"}, exitUsage, "", "there is no Deployment shop/wep", nil},
		{"nothing matches", []string{"30s", "-A", "-l", "tier=none"}, exitUsage, "", "no workload in the cluster is selected", nil},
		{"daemon set by name", []string{"30s", "-n", "shop", "--workload", "deploy/web", "--workload", "ds/agent"}, exitUsage, "", "stay on a lost node for ever", nil},
		{"a daemon set alone, by label", []string{"30s", "-A", "-l", "app=agent"}, exitUsage, "", "none of what is selected can be changed: 1 workload", nil},
		{"without a selection, for a script", []string{"30s", "-o", "json"}, exitDone, `"workloads": []`, "", nil},
		{"for a script", []string{"30s", "-n", "shop", "--workload", "deploy/web", "--dry-run", "-o", "json"}, exitDone, `"result": "changed"`, "3 pods, at most 0 away and 1 more", nil},
		{"client dry run", []string{"30s", "-n", "shop", "--workload", "deploy/web", "--dry-run"}, exitDone, "Deployment shop/web eviction timeout set to 30s (dry run)", "3 pods, at most 0 away and 1 more", nil},
		{"server dry run", []string{"30s", "-A", "-l", "tier=front", "--dry-run=server"}, exitDone, "Deployment shop/web eviction timeout set to 30s (server dry run)", "release shop may put it back", nil},
		{"by name", []string{"30s", "-n", "shop", "--workload", "deployment/web", "--workload", "sts/db", "--yes"}, exitDone, "StatefulSet shop/db eviction timeout set to 30s\n", "not-ready the default (1m10s), unreachable 10s -> 30s; rolls out its 2 pods, one at a time", []string{
			"Deployment web: gpu:NoSchedule not-ready:NoExecute=30 unreachable:NoExecute=30", "StatefulSet db: unreachable:NoExecute=30 not-ready:NoExecute=30",
		}},
		{"again", []string{"30s", "-n", "shop", "--workload", "deployment/web", "--yes"}, exitDone, "Deployment shop/web unchanged\n", "0 workloads to change, 1 with 30s already", nil},
		{"by label", []string{"1m", "-A", "-l", "tier=front", "--yes"}, exitDone, "CronJob shop/nightly eviction timeout set to 1m\n", "not Job shop/import: the pod template of a Job cannot be changed", []string{
			"CronJob nightly: not-ready:NoExecute=60 unreachable:NoExecute=60", "Deployment web: gpu:NoSchedule not-ready:NoExecute=60 unreachable:NoExecute=60",
		}},
		{"in front of a toleration of everything", []string{"40s", "-n", "shop", "--workload", "deployment/hardy", "--yes"}, exitDone, "hardy eviction timeout set to 40s", "for ever -> 40s", []string{
			"Deployment hardy: not-ready:NoExecute=40 unreachable:NoExecute=40 :",
		}},
		{"a living pod", []string{"0s", "-n", "shop", "--workload", "pod/bare", "--yes"}, exitDone, "Pod shop/bare eviction timeout set to 0s", "deleted as soon as their node is not ready", []string{
			"Pod bare: not-ready:NoExecute=0 unreachable:NoExecute=0",
		}},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) {
			out, errw, code := refit(t, append([]string{"eviction-timeout", "set"}, s.args...)...)
			if code != s.code || !strings.Contains(out, s.stdout) || !strings.Contains(errw, s.stderr) {
				t.Errorf("exit %d, want %d; stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", code, s.code, s.stdout, out, s.stderr, errw)
			}
			after := tolerated(t, client)
			changed := slices.DeleteFunc(slices.Clone(after), func(line string) bool { return slices.Contains(before, line) })
			if !slices.Equal(changed, s.changed) {
				t.Errorf("changed:\n%s\nwant:\n%s", strings.Join(changed, "\n"), strings.Join(s.changed, "\n"))
			}
			before = after
		}) {
			return // they build on each other
		}
	}

	t.Run("pods get it", func(t *testing.T) {
		for {
			pods, err := client.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{LabelSelector: "app in (web, db, hardy)"})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int64{"web": 60, "db": 30, "hardy": 40}
			if len(pods.Items) == 6 && !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
				has := toleration.Of(p.Spec.Tolerations, corev1.TaintNodeUnreachable, nil)
				return has.Seconds == nil || *has.Seconds != want[p.Labels["app"]] || p.DeletionTimestamp != nil
			}) {
				break
			}
			waitForPodChange(t, client, pods.ResourceVersion)
		}
		out, errw, code := refit(t, "eviction-timeout", "get", "-o", "json")
		var report toleration.Report
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("exit %d, %s: %v in %s", code, errw, err, out)
		}
		var names []string
		for _, w := range report.Workloads {
			names = append(names, fmt.Sprintf("%s/%s %s", w.Kind, w.Name, w.Unreachable))
		}
		if got, want := strings.Join(names, ", "), "CronJob/nightly 1m, CronJob/weekly 20s, Deployment/hardy 40s, Deployment/web 1m, Pod/bare 0s, StatefulSet/db 30s"; got != want || len(report.Older) != 0 || report.Defaults[1].Assumed {
			t.Errorf("%s, want %s:\n%s", got, want, out)
		}
	})

	t.Run("changed in between", func(t *testing.T) {
		targets, err := toleration.Get(t.Context(), client, "shop", []toleration.Name{{Kind: "Deployment", Name: "web"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, errw, code := refit(t, "eviction-timeout", "set", "50s", "-n", "shop", "--workload", "deployment/web", "--yes"); code != exitDone {
			t.Fatal(errw)
		}
		err = toleration.Plan(targets, 20, toleration.Defaults(&cluster.Snapshot{}))[0].Apply(t.Context(), client, false)
		if err == nil || !strings.Contains(err.Error(), "was changed by somebody else") {
			t.Errorf("got %v", err)
		}
		// What happens to the rest of the object meanwhile does no harm.
		if targets, err = toleration.Get(t.Context(), client, "shop", []toleration.Name{{Kind: "Deployment", Name: "web"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.AppsV1().Deployments("shop").Patch(t.Context(), "web", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := toleration.Plan(targets, 20, toleration.Defaults(&cluster.Snapshot{}))[0].Apply(t.Context(), client, false); err != nil {
			t.Error(err)
		}
		if !slices.Contains(tolerated(t, client), "Deployment web: gpu:NoSchedule not-ready:NoExecute=20 unreachable:NoExecute=20") {
			t.Error("it was not set")
		}
	})
}

// withoutCronJobs lets a user do what the maintainer may, but for reading CronJobs, and
// waits until that is so.
func withoutCronJobs(t *testing.T, client kubernetes.Interface, user string) {
	t.Helper()
	role, err := client.RbacV1().ClusterRoles().Get(t.Context(), "refit-maintainer", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	half := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: role.Rules}
	for i := range half.Rules {
		half.Rules[i].Resources = slices.DeleteFunc(half.Rules[i].Resources, func(r string) bool { return r == "cronjobs" })
	}
	if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), half, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bind(t, client, user, user)
	for _, resource := range role.Rules[1].Resources {
		awaitMay(t, client, user, "list", "", resource)
	}
}

// waitForPodChange waits until a pod of the shop is other than at that version.
func waitForPodChange(t *testing.T, client kubernetes.Interface, version string) {
	t.Helper()
	w, err := client.CoreV1().Pods("shop").Watch(t.Context(), metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	select {
	case <-w.ResultChan():
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing happens to the pods any more")
	}
}

// tolerated are the tolerations of all that could be changed, a line for each.
func tolerated(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	targets, err := toleration.List(t.Context(), client, "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := toleration.Get(t.Context(), client, "shop", []toleration.Name{{Kind: "Pod", Name: "bare"}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, x := range append(targets, pod...) {
		line := x.Kind + " " + x.Name + ":"
		for _, tol := range x.Tolerations {
			line += fmt.Sprintf(" %s:%s", strings.TrimPrefix(tol.Key, "node.kubernetes.io/"), tol.Effect)
			if tol.TolerationSeconds != nil {
				line += fmt.Sprintf("=%d", *tol.TolerationSeconds)
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// TestEvictionTimeoutAdvice: where the control plane is not to be seen, and how an
// older kubeadm writes it.
func TestEvictionTimeoutAdvice(t *testing.T) {
	s, err := cluster.FromObjects(time.Time{}, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "server", Namespace: metav1.NamespaceSystem, Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}},
		Spec: corev1.PodSpec{NodeName: "cp-1", Containers: []corev1.Container{{
			Name: cluster.APIServer, Args: []string{"--disable-admission-plugins=DefaultTolerationSeconds"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, want := evictionTimeoutAdvice(s, 120), "by flag --disable-admission-plugins of kube-apiserver on cp-1. Take it out"; !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
	if s, err = cluster.FromObjects(time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.Server = "v1.30.4"
	text := evictionTimeoutAdvice(s, 120)
	for _, want := range []string{
		"No kube-apiserver is to be seen", "- --default-not-ready-toleration-seconds=120    # now 5m: default of v1.30\n",
		"         default-unreachable-toleration-seconds: \"120\"\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// TestDrainLostNode is the command line for a node whose machine is dead, from its
// loss to its return. What happens to the pods is tested in package drain.
func TestDrainLostNode(t *testing.T) {
	tw := twintest.Start(t, twin.Options{
		Nodes: 3, Zones: 1, Scenario: "testdata/drain.yaml", Wait: true, NodeLease: 8 * time.Second, NodeMonitorGracePeriod: 10 * time.Second,
	})
	t.Setenv("KUBECONFIG", tw.MaintainerKubeconfig())
	client := twintest.Client(t, tw)
	watch := startDaemonSet(t, client, "watch")
	watch.until(t, true, "node-03")
	if err := tw.FailNode(t.Context(), "node-03"); err != nil {
		t.Fatal(err)
	}
	untilNode(t, client, "node-03", cluster.Lost)

	steps := []struct {
		name           string
		before         func()
		args           []string
		code           int
		stdout, stderr string // parts
		taints         int    // of refit, on node-03 afterwards
	}{
		{"lost", nil, []string{"drain", "node-03"}, exitBlocked, "", "1 pod would stay Terminating", 0},
		{"the way out", nil, []string{"drain", "node-03"}, exitBlocked, "", "say --confirm-node-is-off", 0},
		{"lost, client dry run", nil, []string{"drain", "node-03", "--dry-run"}, exitBlocked, "", "1 pod would stay Terminating", 0},
		{"not lost", nil, []string{"drain", "node-01", "--confirm-node-is-off"}, exitBlocked, "", "node node-01 is Ready: its kubelet answers", 0},
		{"confirmed, but pods would be lost", nil, []string{"drain", "node-02", "node-03", "--confirm-node-is-off"}, exitBlocked, "", "cannot delete Pods that declare no controller", 0},
		{"server dry run, with a DaemonSet", nil, []string{"drain", "node-03", "--confirm-node-is-off", "--dry-run=server", "-o", "wide"}, exitDone, "", "deleted until its node is back", 0},
		{"client dry run", nil, []string{"drain", "node-03", "--confirm-node-is-off", "--dry-run"}, exitDone, "node/node-03 out-of-service (dry run)\n", "tainted node.kubernetes.io/out-of-service", 0},
		{"confirmed", nil, []string{"drain", "node-03", "--confirm-node-is-off"}, exitDone, "node/node-03 out-of-service\n", "keeps the taint node.kubernetes.io/out-of-service until it is back", 1},
		{"uncordoned too early", func() { watch.until(t, false, "node-03") }, []string{"uncordon", "node-03"}, exitDone, "node/node-03 uncordoned\n", "warning: node node-03 is not Ready, and keeps the taint", 1},
		{"back", func() {
			if err := tw.RecoverNode(t.Context(), "node-03"); err != nil {
				t.Fatal(err)
			}
			untilNode(t, client, "node-03", cluster.Ready)
		}, []string{"check"}, exitDone, "take the taint off: refit uncordon node-03", "", 1},
		{"dry run", nil, []string{"uncordon", "node-03", "--dry-run"}, exitDone, "node/node-03 in-service (dry run)\n", "", 1},
		{"uncordoned", nil, []string{"uncordon", "node-03"}, exitDone, "node/node-03 already uncordoned\nnode/node-03 in-service\n", "", 0},
		{"the taint of somebody else", func() {
			setTaints(t, client, "node-03", `[{"key":"node.kubernetes.io/out-of-service","value":"nodeshutdown","effect":"NoExecute"}]`)
		}, []string{"uncordon", "node-03"}, exitDone, "node/node-03 already uncordoned\n",
			"which refit has not set: pods that do not tolerate it are deleted there\nhint: if its machine works: kubectl taint nodes node-03 node.kubernetes.io/out-of-service-", 1},
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) {
			if s.before != nil {
				s.before()
			}
			out, errw, code := refit(t, s.args...)
			if code != s.code || !strings.Contains(out, s.stdout) || !strings.Contains(errw, s.stderr) {
				t.Errorf("exit %d, want %d; stdout, with %q in it:\n%s\nstderr, with %q in it:\n%s", code, s.code, s.stdout, out, s.stderr, errw)
			}
			taints := 0
			untilNode(t, client, "node-03", func(n *corev1.Node) bool {
				for _, taint := range n.Spec.Taints {
					if taint.Key == corev1.TaintNodeOutOfService {
						taints++
					}
				}
				return true
			})
			if taints != s.taints {
				t.Errorf("%d taints", taints)
			}
		}) {
			return // they build on each other
		}
	}
	setTaints(t, client, "node-03", `null`)
	watch.until(t, true, "node-03")

	t.Run("lost again, and waited for", func(t *testing.T) {
		if err := tw.FailNode(t.Context(), "node-03"); err != nil {
			t.Fatal(err)
		}
		untilNode(t, client, "node-03", cluster.Lost)
		var out, errw string
		var code int
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			out, errw, code = refit(t, "drain", "node-03", "--confirm-node-is-off", "--wait-for-return")
		}()
		untilNode(t, client, "node-03", cluster.OutOfService)
		watch.until(t, false, "node-03")
		if err := tw.RecoverNode(t.Context(), "node-03"); err != nil {
			t.Fatal(err)
		}
		<-ended
		if want := "node/node-03 cordoned\nnode/node-03 out-of-service\nnode/node-03 drained\nnode/node-03 in-service\n"; code != exitDone || out != want ||
			!strings.Contains(errw, "waits until the machine is back") {
			t.Errorf("exit %d; stdout:\n%s\nstderr:\n%s", code, out, errw)
		}
		untilNode(t, client, "node-03", func(n *corev1.Node) bool { return cluster.Ready(n) && n.Spec.Unschedulable })
		watch.until(t, true, "node-03")
	})
}

// daemonSet is one that has a pod on every node which lets it.
type daemonSet struct {
	client kubernetes.Interface
	name   string
}

// startDaemonSet starts one whose pods tolerate what its controller has them tolerate,
// and nothing else.
func startDaemonSet(t *testing.T, client kubernetes.Interface, name string) *daemonSet {
	t.Helper()
	labels := map[string]string{"app": name}
	_, err := client.AppsV1().DaemonSets(metav1.NamespaceDefault).Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.invalid/app"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &daemonSet{client, name}
}

// until waits until it has a pod on a node, or none.
func (d *daemonSet) until(t *testing.T, has bool, node string) {
	t.Helper()
	pods := d.client.CoreV1().Pods(metav1.NamespaceDefault)
	deadline := time.After(2 * time.Minute)
	for {
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + d.name})
		if err != nil {
			t.Fatal(err)
		}
		if has == slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == node }) {
			return
		}
		w, err := pods.Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=" + d.name, ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.ResultChan():
			w.Stop()
		case <-deadline:
			w.Stop()
			t.Fatalf("pods of DaemonSet %s on node %s: want %v", d.name, node, has)
		}
	}
}

// untilNode waits until a node is as wanted.
func untilNode(t *testing.T, client kubernetes.Interface, name string, is func(*corev1.Node) bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		n, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if is(n) {
			return
		}
		w, err := client.CoreV1().Nodes().Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: n.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.ResultChan():
			w.Stop()
		case <-deadline:
			w.Stop()
			t.Fatalf("node %s does not become what it should: %v", name, n.Status.Conditions)
		}
	}
}

// setTaints gives a node other taints, as an administrator does with kubectl.
func setTaints(t *testing.T, client kubernetes.Interface, node, taints string) {
	t.Helper()
	_, err := client.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(`{"spec":{"taints":`+taints+`}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

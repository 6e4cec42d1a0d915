// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/simulated"
	"refit.dev/refit/twin/twintest"
)

// sim is a twin with its client, for the tests of what it simulates.
type sim struct {
	*testing.T
	ctx    context.Context
	tw     *twin.Twin
	client *kubernetes.Clientset
}

func TestSimulation(t *testing.T) {
	tw := twintest.Start(t, twin.Options{
		Nodes: 3, Scenario: "testdata/machines.yaml", Wait: true, Reboot: 500 * time.Millisecond,
		// A lost node is noticed soon.
		NodeLease: 20 * time.Second, NodeMonitorGracePeriod: 15 * time.Second,
		ControllerManagerArgs: []string{"--node-monitor-period=1s"},
		StaticPods:            true,
	})
	client := twintest.Client(t, tw)
	for _, tc := range []struct {
		name string
		run  func(*sim)
	}{
		{"control plane", testControlPlane},
		{"reboot", testReboot},
		{"reboot without return", testRebootForEver},
		{"fail and recover", testFail},
		{"names used again", testNames},
		{"finalizer", testFinalizer},
		{"volumes", testVolumes},
		{"ready and done when told", testPace},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.run(&sim{T: t, ctx: testContext(t), tw: tw, client: client})
		})
	}
}

func (s *sim) node(name string) *corev1.Node {
	s.Helper()
	n, err := s.client.CoreV1().Nodes().Get(s.ctx, name, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// podsOn returns the pods of an app, on a node or ("") on all.
func (s *sim) podsOn(node, app string) []corev1.Pod {
	s.Helper()
	opts := metav1.ListOptions{LabelSelector: "app=" + app}
	if node != "" {
		opts.FieldSelector = "spec.nodeName=" + node
	}
	list, err := s.client.CoreV1().Pods("").List(s.ctx, opts)
	if err != nil {
		s.Fatal(err)
	}
	return list.Items
}

func (s *sim) eventually(what string, ok func() bool) {
	s.Helper()
	eventually(s.T, s.ctx, what, ok)
}

func readyStatus(n *corev1.Node) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status
		}
	}
	return ""
}

// testControlPlane: the settings of the control plane can be read off its pods.
func testControlPlane(s *sim) {
	list := func() []corev1.Pod {
		pods, err := s.client.CoreV1().Pods(metav1.NamespaceSystem).List(s.ctx, metav1.ListOptions{LabelSelector: "tier=control-plane"})
		if err != nil {
			s.Fatal(err)
		}
		return pods.Items
	}
	s.eventually("its pods run", func() bool {
		return !slices.ContainsFunc(list(), func(p corev1.Pod) bool { return !podReady(&p) })
	})
	var names []string
	for _, p := range list() {
		names = append(names, p.Name)
		if p.Annotations[corev1.MirrorPodAnnotationKey] == "" || p.Spec.NodeName != "node-01" {
			s.Errorf("%s is no mirror pod of node-01", p.Name)
		}
	}
	want := []string{"etcd-node-01", "kube-apiserver-node-01", "kube-controller-manager-node-01", "kube-scheduler-node-01"}
	if !slices.Equal(names, want) {
		s.Fatalf("pods %v, want %v", names, want)
	}
	command := list()[2].Spec.Containers[0].Command
	if command[0] != "kube-controller-manager" || !slices.Contains(command, "--node-monitor-grace-period=15s") {
		s.Errorf("the controller manager was started with %v", command)
	}
}

func testReboot(s *sim) {
	before := s.node("node-01")
	agent := s.podsOn("node-01", "agent")[0]
	// The watch starts at what was read: it must not miss that the node is not Ready in between.
	w, err := s.client.CoreV1().Nodes().Watch(s.ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=node-01", ResourceVersion: before.ResourceVersion,
	})
	if err != nil {
		s.Fatal(err)
	}
	defer w.Stop()
	bootID, err := s.tw.RebootNode(s.ctx, "node-01")
	if err != nil {
		s.Fatal(err)
	}
	wasDown := false
	for e := range w.ResultChan() {
		n, ok := e.Object.(*corev1.Node)
		if !ok {
			s.Fatalf("watch: %+v", e.Object)
		}
		wasDown = wasDown || readyStatus(n) == corev1.ConditionFalse
		if n.Status.NodeInfo.BootID == bootID && readyStatus(n) == corev1.ConditionTrue {
			break
		}
	}
	if s.ctx.Err() != nil || !wasDown {
		s.Fatalf("not seen: node not ready (seen: %v), then ready with boot ID %s", wasDown, bootID)
	}
	s.eventually("the kubelet runs, the agent is ready after a restart", func() bool {
		pod := s.podsOn("node-01", "agent")[0]
		if pod.UID != agent.UID {
			s.Fatalf("the agent's pod was replaced")
		}
		return s.node("node-01").Labels[simulated.KubeletLabel] == simulated.KubeletRunning &&
			podReady(&pod) && pod.Status.ContainerStatuses[0].RestartCount == agent.Status.ContainerStatuses[0].RestartCount+1
	})
	if n := s.node("node-01"); n.Annotations[simulated.DownSinceAnnotation] != "" {
		s.Errorf("annotations left: %v", n.Annotations)
	}
}

func testRebootForEver(s *sim) {
	patchNode(s, "node-02", `{"metadata":{"annotations":{"`+simulated.RebootTimeAnnotation+`":"never"}}}`)
	bootID, err := s.tw.RebootNode(s.ctx, "node-02")
	if err != nil {
		s.Fatal(err)
	}
	s.eventually("the node is down", func() bool { return readyStatus(s.node("node-02")) == corev1.ConditionFalse })
	if got := s.node("node-02").Status.NodeInfo.BootID; got == bootID {
		s.Errorf("it has its new boot ID already")
	}
	if err := s.tw.RecoverNode(s.ctx, "node-02"); err != nil {
		s.Fatal(err)
	}
	s.eventually("the node is back", func() bool {
		n := s.node("node-02")
		return readyStatus(n) == corev1.ConditionTrue && n.Status.NodeInfo.BootID == bootID &&
			n.Labels[simulated.KubeletLabel] == simulated.KubeletRunning
	})
}

// testFail deletes a pod that takes some seconds to end, and stops its kubelet
// meanwhile: the pod must stay, although its end was planned already. It would be over
// before the control plane knows that the node is lost.
func testFail(s *sim) {
	boot := s.node("node-03").Status.NodeInfo.BootID
	slow := s.podsOn("node-03", "slow")[0]
	if err := s.client.CoreV1().Pods(slow.Namespace).Delete(s.ctx, slow.Name, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	if err := s.tw.FailNode(s.ctx, "node-03"); err != nil {
		s.Fatal(err)
	}
	// The pods are said not to be ready after the node is said to be lost.
	var agent corev1.Pod
	s.eventually("the control plane lost the node, and counts the agent there as not ready", func() bool {
		agent = s.podsOn("node-03", "agent")[0]
		return readyStatus(s.node("node-03")) == corev1.ConditionUnknown && !podReady(&agent)
	})
	if got := s.podsOn("node-03", "slow"); len(got) != 1 || got[0].UID != slow.UID {
		s.Errorf("pods on the dead node: %d; want the one that was deleted, for ever", len(got))
	}
	if err := s.tw.RecoverNode(s.ctx, "node-03"); err != nil {
		s.Fatal(err)
	}
	s.eventually("the node is ready, the pod replaced, the agent ready without a restart", func() bool {
		n, agents := s.node("node-03"), s.podsOn("node-03", "agent")
		for _, p := range s.podsOn("node-03", "slow") {
			if p.UID == slow.UID {
				return false
			}
		}
		return readyStatus(n) == corev1.ConditionTrue && len(n.Spec.Taints) == 0 && n.Status.NodeInfo.BootID == boot &&
			agents[0].UID == agent.UID && podReady(&agents[0]) && agents[0].Status.ContainerStatuses[0].RestartCount == 0
	})
	if err := s.tw.FailNode(s.ctx, "node-99"); err == nil || !strings.Contains(err.Error(), "no node node-99") {
		s.Errorf("FailNode of no node = %v", err)
	}
}

// testNames deletes the pods of a stateful set again and again. Each name is
// used by many pods, and only what the test deletes may go.
func testNames(s *sim) {
	gone := map[string]bool{}
	for range 20 {
		pods := s.podsOn("", "db")
		if len(pods) != 2 {
			s.Fatalf("%d pods, want 2", len(pods))
		}
		for _, p := range pods {
			if err := s.client.CoreV1().Pods(p.Namespace).Delete(s.ctx, p.Name, metav1.DeleteOptions{}); err != nil {
				s.Fatal(err)
			}
			gone[string(p.UID)] = true
		}
		s.eventually("two other pods are ready", func() bool {
			n := 0
			for _, p := range s.podsOn("", "db") {
				if !gone[string(p.UID)] && podReady(&p) {
					n++
				}
			}
			return n == 2
		})
	}
	created := 0
	for _, e := range auditEvents(s.T, s.tw) {
		if e.Verb == "create" && e.ObjectRef.Resource == "pods" && e.ObjectRef.Subresource == "" &&
			strings.HasPrefix(e.ObjectRef.Name, "db-") && e.ResponseStatus.Code == 201 {
			created++
		}
	}
	if created != len(gone)+2 {
		s.Errorf("%d pods were created, want %d: a kubelet ended one that nobody had deleted", created, len(gone)+2)
	}
}

func testFinalizer(s *sim) {
	pod := s.podsOn("", "held")[0]
	if err := s.client.CoreV1().Pods(pod.Namespace).Delete(s.ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.eventually("its containers end and it stays", func() bool {
		pods := s.podsOn("", "held")
		return len(pods) == 1 && pods[0].DeletionTimestamp != nil && pods[0].Status.Phase == corev1.PodFailed
	})
	_, err := s.client.CoreV1().Pods(pod.Namespace).Patch(s.ctx, pod.Name, "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err != nil {
		s.Fatal(err)
	}
	s.eventually("it goes with its finalizer", func() bool { return len(s.podsOn("", "held")) == 0 })
}

func testVolumes(s *sim) {
	attached := func() map[string]bool {
		list, err := s.client.StorageV1().VolumeAttachments().List(s.ctx, metav1.ListOptions{})
		if err != nil {
			s.Fatal(err)
		}
		nodes := map[string]bool{}
		for _, va := range list.Items {
			if va.Status.Attached && va.DeletionTimestamp == nil {
				nodes[va.Spec.NodeName] = true
			}
		}
		return nodes
	}
	s.eventually("the volumes are attached where the pods are", func() bool {
		on := map[string]bool{}
		for _, p := range s.podsOn("", "db") {
			on[p.Spec.NodeName] = true
		}
		at := attached()
		return len(on) == 2 && len(at) == 2 && at[keys(on)[0]] && at[keys(on)[1]]
	})
	patch := []byte(`{"spec":{"replicas":0}}`)
	if _, err := s.client.AppsV1().StatefulSets("default").Patch(s.ctx, "db", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		s.Fatal(err)
	}
	s.eventually("the volumes are detached", func() bool { return len(attached()) == 0 })
}

func testPace(s *sim) {
	create := func(name, readyAfter string, probe *corev1.Probe) {
		_, err := s.client.CoreV1().Pods("default").Create(s.ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Labels: map[string]string{"app": name}, Annotations: map[string]string{simulated.ReadyAfterAnnotation: readyAfter},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c:1", ReadinessProbe: probe}}},
		}, metav1.CreateOptions{})
		if err != nil {
			s.Fatal(err)
		}
	}
	create("never", simulated.Never, nil)
	create("later", "2s", nil)
	create("probed", "2s", &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}})
	for name, runsAtOnce := range map[string]bool{"later": false, "probed": true} {
		var pod corev1.Pod
		s.eventually("pod "+name+" is ready", func() bool {
			pod = s.podsOn("", name)[0]
			return podReady(&pod)
		})
		runs := pod.Status.ContainerStatuses[0].State.Running.StartedAt
		for _, c := range pod.Status.Conditions {
			if c.Type != corev1.PodReady {
				continue
			}
			// The API keeps times to the second.
			if took := c.LastTransitionTime.Sub(pod.Status.StartTime.Time); took < time.Second {
				s.Errorf("pod %s was ready %s after its start, want 2 s", name, took)
			}
			if took := c.LastTransitionTime.Sub(runs.Time); runsAtOnce && took < time.Second || !runsAtOnce && took != 0 {
				s.Errorf("pod %s was ready %s after its container ran", name, took)
			}
		}
	}
	if never := s.podsOn("", "never")[0]; never.Status.Phase != corev1.PodRunning || podReady(&never) {
		s.Errorf("the pod that is never ready is %s, ready %v", never.Status.Phase, podReady(&never))
	}
	s.eventually("the job is done", func() bool {
		job, err := s.client.BatchV1().Jobs("default").Get(s.ctx, "job", metav1.GetOptions{})
		return err == nil && job.Status.Succeeded == 1
	})
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func patchNode(s *sim, name, patch string) {
	s.Helper()
	if _, err := s.client.CoreV1().Nodes().Patch(s.ctx, name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
		s.Fatal(err)
	}
}

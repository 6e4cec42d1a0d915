// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reconfigure

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/kubeadm"
)

const (
	manifestPath = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	keptPath     = "/etc/kubernetes/tmp/kube-apiserver.yaml.before-refit"
	startConfig  = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
)

// site is a cluster of control planes whose machines answer as kubeadm, the kernel and
// the kubelet do.
type site struct {
	*Reconfigurer
	client   *fake.Clientset
	machines map[string]*hosttest.Machine
	deaf     map[string]bool // whose kubelet does not read manifests
}

// manifestOf is what this kubeadm makes of a configuration; more is what somebody added.
func manifestOf(address, config, more string) string {
	var b strings.Builder
	b.WriteString("kind: Pod\nmetadata:\n  name: kube-apiserver\nspec:\n  containers:\n  - command:\n    - kube-apiserver\n    - --advertise-address=" + address + "\n")
	name := ""
	for line := range strings.Lines(config) {
		key, value, _ := strings.Cut(strings.Trim(line, " -\n"), ": ")
		switch key {
		case "name":
			name = value
		case "value":
			fmt.Fprintf(&b, "    - --%s=%s\n", name, strings.Trim(value, "\""))
		}
	}
	return b.String() + more + "    image: kube-apiserver:v1.37.2\n"
}

func newSite(t *testing.T, nodes ...string) *site {
	s := &site{client: fake.NewClientset(), machines: map[string]*hosttest.Machine{}, deaf: map[string]bool{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: ConfigMap}, Data: map[string]string{ConfigKey: startConfig, "other": "stays"},
	}, metav1.CreateOptions{})
	must(err)
	for i, name := range nodes {
		address := fmt.Sprintf("192.0.2.%d", i+1)
		_, err := s.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{controlPlaneLabel: ""}},
		}, metav1.CreateOptions{})
		must(err)
		m := hosttest.New(t, name)
		s.machines[name] = m
		m.SetFile(manifestPath, manifestOf(address, startConfig, ""), 0o600)
		s.kubelet(t, name)
		s.answer(t, m, name, address)
	}
	s.Reconfigurer = &Reconfigurer{
		Client: s.client, Clock: clock.RealClock{}, Args: []kubeadm.Arg{{Name: "default-not-ready-toleration-seconds", Value: "60"}},
		Machine: func(n *corev1.Node) (host.Machine, error) { return s.machines[n.Name], nil },
	}
	return s
}

// command is what the manifest on a machine has the API server be started with.
func (s *site) command(name string) []string {
	f, _ := s.machines[name].File(manifestPath)
	var words []string
	for line := range strings.Lines(string(f.Data)) {
		if word, ok := strings.CutPrefix(line, "    - "); ok {
			words = append(words, strings.TrimSpace(word))
		}
	}
	return words
}

// kubelet makes the pod that the manifest describes.
func (s *site) kubelet(t *testing.T, name string) {
	pods := s.client.CoreV1().Pods("kube-system")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-apiserver-" + name, Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}},
		Spec:       corev1.PodSpec{NodeName: name, Containers: []corev1.Container{{Name: "kube-apiserver", Command: s.command(name)}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	_, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = pods.Update(t.Context(), pod, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Error(err)
	}
}

// answer has the programs of a machine answer.
func (s *site) answer(t *testing.T, m *hosttest.Machine, name, address string) {
	shell := func(part string) func([]string) bool {
		return func(argv []string) bool { return argv[0] == "sh" && strings.Contains(argv[2], part) }
	}
	processes := m.AlwaysFunc("which API servers run", shell("/proc/"))
	processes.Do(func([]string, string) {
		if !s.deaf[name] {
			s.kubelet(t, name)
		}
		pod, err := s.client.CoreV1().Pods("kube-system").Get(t.Context(), "kube-apiserver-"+name, metav1.GetOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		processes.Stdout(strings.Join(pod.Spec.Containers[0].Command, "\n") + "\n\n")
	})
	render := m.AlwaysFunc("kubeadm init phase", shell("kubeadm init phase"))
	render.Do(func(_ []string, stdin string) {
		config, local, _ := strings.Cut(stdin, "\n---\n")
		for _, want := range []string{"kind: InitConfiguration", "advertiseAddress: " + address, "name: " + name, "criSocket: unix:///"} {
			if !strings.Contains(local, want) {
				t.Errorf("%s: no %q in\n%s", name, want, local)
			}
		}
		render.Stdout(manifestOf(address, config, ""))
	})
	m.Always("mkdir", "-p", "-m", "0700", "--", "/etc/kubernetes/tmp")
	m.AlwaysFunc("kubelet", func(argv []string) bool { return argv[0] == "kubelet" }).Code(127)
	m.AlwaysFunc("systemctl", func(argv []string) bool { return argv[0] == "systemctl" }).Stdout("ActiveState=active\nMainPID=0\n")
}

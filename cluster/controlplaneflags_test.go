// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The forms in which control planes are started out there, and what is to be
// read of each after the objects were trimmed.
func TestControlPlaneFlags(t *testing.T) {
	for _, tc := range []struct {
		name, container string
		command, args   []string
		want            string
	}{
		{"kubeadm", "kube-apiserver", []string{"kube-apiserver", "--a=1", "--b-c=x=y"}, nil, "kube-apiserver a=1 b-c=x=y"},
		{"arguments apart", "kube-controller-manager", []string{"/usr/local/bin/kube-controller-manager"}, []string{"--a", "1s", "--b"}, "kube-controller-manager a=1s b=true"},
		{"the image starts it", "kube-apiserver", nil, []string{"--a=1"}, "kube-apiserver a=1"},
		{"shell", "x", []string{"/bin/sh", "-c", `exec /usr/local/bin/kube-apiserver --a="1" --b`}, nil, "kube-apiserver a=1 b=true"},
		{"go-runner", "x", []string{"/go-runner", "--log-file=/var/log/kube-apiserver.log", "--also-stdout", "/usr/local/bin/kube-apiserver", "--a=1"}, nil, "kube-apiserver a=1"},
		{"hyperkube", "x", []string{"/hyperkube", "kube-controller-manager", "--a=1"}, nil, "kube-controller-manager a=1"},
		{"the last one counts", "kube-apiserver", []string{"kube-apiserver", "--a=1", "--a=2"}, nil, "kube-apiserver a=2"},
		{"lists of plugins add up", "kube-apiserver", []string{"kube-apiserver", "--disable-admission-plugins=A", "--disable_admission_plugins", "B,C"}, nil, "kube-apiserver disable-admission-plugins=A,B,C"},
		{"so do lists of controllers", "x", []string{"kube-controller-manager", "--controllers=*,-a", "--controllers=-b"}, nil, "kube-controller-manager controllers=*,-a,-b"},
		{"underscores", "kube-apiserver", []string{"kube-apiserver", "--a_b=c_d"}, nil, "kube-apiserver a-b=c_d"},
		{"nothing after the end of flags", "kube-apiserver", []string{"kube-apiserver", "--a=1", "--", "--b=2"}, nil, "kube-apiserver a=1"},
		{"negative number", "kube-apiserver", []string{"kube-apiserver", "--a", "-5"}, nil, "kube-apiserver a=-5"},
		{"no flags", "kube-apiserver", nil, nil, "kube-apiserver"},
		{"somebody else's flag", "exporter", []string{"exporter", "--job", "kube-apiserver", "--path=/metrics/kube-apiserver"}, nil, ""},
		{"something else", "coredns", []string{"coredns", "--a=1"}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: metav1.NamespaceSystem, UID: "1", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}},
				Spec:       corev1.PodSpec{NodeName: "cp-1", Containers: []corev1.Container{{Name: "first"}, {Name: tc.container, Command: tc.command, Args: tc.args}}},
			}
			for range 2 { // a transform may see an object twice
				if _, err := trim(pod); err != nil {
					t.Fatal(err)
				}
			}
			if got := drawProcesses(ControlPlaneFlags([]*Pod{{Pod: pod}})); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.want == "" && pod.Spec.Containers[1].Command != nil {
				t.Error("the command was kept, which nobody reads")
			}
		})
	}
}

func TestControlPlaneFlagsAreOfTheControlPlane(t *testing.T) {
	instance := func(namespace, name, node, component string, phase corev1.PodPhase) runtime.Object {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: "1"},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: component, Args: []string{"--on=" + node}}}},
			Status:     corev1.PodStatus{Phase: phase},
		}
	}
	s, err := FromObjects(time.Time{},
		instance("kube-system", "b", "cp-1", ControllerManager, corev1.PodRunning),
		instance("kube-system", "c", "cp-2", APIServer, corev1.PodRunning),
		instance("kube-system", "a", "cp-1", APIServer, corev1.PodPending),
		instance("kube-system", "finished", "cp-3", APIServer, corev1.PodFailed),
		instance("tenant", "d", "worker", APIServer, corev1.PodRunning),
	)
	if err != nil {
		t.Fatal(err)
	}
	processes := ControlPlaneFlags(s.Pods)
	want := "kube-apiserver on=cp-1; kube-apiserver on=cp-2; kube-controller-manager on=cp-1"
	if got := drawProcesses(processes); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if where := processes[1].Where(); where != (Object{Kind: "Pod", Namespace: "kube-system", Name: "c"}) {
		t.Errorf("a pod that is no static pod has its flags in %v", where)
	}
	processes[1].Pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	if where := processes[1].Where(); where != (Object{Kind: "Node", Name: "cp-2"}) {
		t.Errorf("a static pod has its flags on %v", where)
	}
}

func drawProcesses(processes []ControlPlaneProcess) string {
	var all []string
	for _, p := range processes {
		words := []string{p.Component}
		for _, name := range slices.Sorted(maps.Keys(p.Flags)) {
			words = append(words, fmt.Sprintf("%s=%s", name, p.Flags[name]))
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, "; ")
}

func TestPluginOff(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"--disable-admission-plugins=A,B":   "--disable-admission-plugins",
		"--disable-admission-plugins=A2":    "",
		"--disable-admission-plugins=B, A":  "--disable-admission-plugins",
		"--enable-admission-plugins=A":      "",
		"--admission-control=B":             "--admission-control",
		"--admission-control=B,A":           "",
		"--admission-control-config-file=B": "",
	} {
		off, by := ControlPlaneProcess{Flags: readFlags([]string{text})}.PluginOff("A")
		if off != (want != "") || by != want {
			t.Errorf("%s: off %v by %q, want %q", text, off, by, want)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/lab"
)

// The versions that the labs of the tests go from and to.
const (
	old  = "v1.36.3"
	next = "v1.37.2"
)

// packages tells what is installed, with a flag for each that is held; what dpkg has left
// half done; and the repository.
const packages = `dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' kubeadm kubectl kubelet
dpkg --audit
grep -ho 'stable:/v[0-9.]*' /etc/apt/sources.list.d/*.list`

// programs asks the programs that run, not the files on the disk, for their versions.
const programs = `for p in $PROGRAMS; do for pid in $(pidof $p); do echo $p $(/proc/$pid/exe --version | grep -o 'v*[0-9]*\.[0-9]*\.[0-9]*' | head -n 1); done; done`

// wantUpgraded looks at the cluster and at the machines themselves, and believes nothing
// that refit said. cordoned are the nodes that somebody else had cordoned before.
func wantUpgraded(t *testing.T, l *lab.Lab, cordoned ...string) {
	t.Run("every node is Ready at "+next, func(t *testing.T) { wantVersions(t, l, next) })
	t.Run("nothing is cordoned but what somebody else had cordoned", func(t *testing.T) { wantCordoned(t, l, cordoned...) })
	t.Run("packages are at the version and held, from the repository of the minor", func(t *testing.T) {
		for _, m := range l.Nodes() {
			wantPackages(t, l, m.Name, next)
		}
	})
	t.Run("what runs on the machines is the version", func(t *testing.T) {
		for _, m := range l.Nodes() {
			wantPrograms(t, l, m)
		}
	})
	t.Run("refit has left no mark and no lock", func(t *testing.T) { wantNoMarks(t, l) })
}

// wantVersions wants every node Ready with a kubelet of that version.
func wantVersions(t *testing.T, l *lab.Lab, version string) {
	t.Helper()
	for name, n := range nodes(t, l) {
		if v := n.Status.NodeInfo.KubeletVersion; v != version || !ready(n) {
			t.Errorf("%s: kubelet %s, Ready %t, want %s and Ready", name, v, ready(n), version)
		}
	}
}

func wantCordoned(t *testing.T, l *lab.Lab, want ...string) {
	t.Helper()
	for name, n := range nodes(t, l) {
		if n.Spec.Unschedulable != slices.Contains(want, name) {
			t.Errorf("%s: cordoned %t", name, n.Spec.Unschedulable)
		}
	}
}

func wantPackages(t *testing.T, l *lab.Lab, machine, version string) {
	t.Helper()
	v := strings.TrimPrefix(version, "v")
	want := fmt.Sprintf("kubeadm %[1]s-1.1 hi \nkubectl %[1]s-1.1 hi \nkubelet %[1]s-1.1 hi \nstable:/v%[2]s", v, v[:strings.LastIndex(v, ".")])
	if got := inMachine(t, l, machine, "look at the packages", packages, nil); got != want {
		t.Errorf("%s has\n%s\nwant\n%s", machine, got, want)
	}
}

// wantPrograms wants that each program of Kubernetes runs on a machine, at the next
// version. The cluster itself replaces the proxies, and takes its time.
func wantPrograms(t *testing.T, l *lab.Lab, m lab.Machine) {
	t.Helper()
	list := "kubelet kube-proxy"
	if m.Role == lab.ControlPlane {
		list = "kube-apiserver kube-controller-manager kube-scheduler " + list
	}
	var want []string
	for p := range strings.FieldsSeq(list) {
		want = append(want, p+" "+next)
	}
	eventually(t, "what runs on "+m.Name, func() error {
		got, err := l.Exec(t.Context(), m.Name, "PROGRAMS='"+list+"'\n"+programs)
		if err == nil && strings.TrimSpace(got) != strings.Join(want, "\n") {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	})
}

// wantNoMarks wants that nothing of a run is left: no annotation, no lock, no command on a machine.
func wantNoMarks(t *testing.T, l *lab.Lab) {
	t.Helper()
	for name, n := range nodes(t, l) {
		for key := range n.Annotations {
			if strings.Contains(key, "refit.dev") {
				t.Errorf("%s still has the annotation %s", name, key)
			}
		}
		for _, taint := range n.Spec.Taints {
			if strings.Contains(taint.Key, "refit.dev") {
				t.Errorf("%s still has the taint %s", name, taint.Key)
			}
		}
	}
	holder := kubectl(t, l, "--namespace", "kube-system", "get", "lease", "refit", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
	if holder != "" {
		t.Errorf("the lock is still held by %s", holder)
	}
	for _, m := range l.Nodes() {
		units := inMachine(t, l, m.Name, "look for commands", "systemctl list-units --plain --no-legend --state=running,activating 'refit-*'", nil)
		if units != "" {
			t.Errorf("on %s runs %s", m.Name, units)
		}
	}
}

// kubectl returns what kubectl says.
func kubectl(t *testing.T, l *lab.Lab, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, l, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tryKubectl is kubectl for what may fail.
func tryKubectl(t *testing.T, l *lab.Lab, args ...string) (string, error) {
	out, err := exec.CommandContext(t.Context(), l.Kubectl(), append([]string{"--kubeconfig", l.Kubeconfig()}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// wantUntouched wants that every node and machine is as it was when the lab was made.
func wantUntouched(t *testing.T, l *lab.Lab, before map[string]corev1.Node) {
	t.Helper()
	wantVersions(t, l, old)
	wantCordoned(t, l)
	wantNoMarks(t, l)
	for name, n := range nodes(t, l) {
		if n.UID != before[name].UID || n.Status.NodeInfo.BootID != before[name].Status.NodeInfo.BootID {
			t.Errorf("%s is another one than before", name)
		}
		wantPackages(t, l, name, old)
	}
}

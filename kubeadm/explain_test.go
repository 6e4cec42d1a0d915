// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"refit.dev/refit/skew"
)

// TestExplain is what is made of the output of commands that failed.
func TestExplain(t *testing.T) {
	datadriven.RunTest(t, "testdata/explain", func(t *testing.T, d *datadriven.TestData) string {
		f := explain(StepName(d.Cmd), "exited with status 1", strings.Split(d.Input, "\n"))
		return fmt.Sprintf("%s: %s\nhint: %s\n", f.Kind, f.Cause, f.Hint)
	})
}

// TestConcerns is what an upgrade to 1.37.2 would trip over, for hosts that differ
// from a good one by what a line says.
func TestConcerns(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	yes := true
	hosts := map[string]func(*State){
		"nothing": func(*State) {},
		"automatic": func(s *State) {
			s.Automatic = &Automatic{Name: "unattended-upgrades", Active: true, Touches: []string{"kubelet"}}
		},
		"cgroup-v1":         func(s *State) { s.System.CgroupV1 = true; s.Kubelet.FailCgroupV1 = nil },
		"cgroup-v1-allowed": func(s *State) { s.System.CgroupV1 = true; s.Kubelet.FailCgroupV1 = new(bool) },
		"cgroup-v1-refused": func(s *State) { s.System.CgroupV1 = true; s.Kubelet.FailCgroupV1 = &yes },
		"gates": func(s *State) {
			s.Kubelet.Gates = map[string]bool{"SidecarContainers": true, "KubeletInUserNamespace": true}
		},
		"api-gates": func(s *State) { s.Pods.Static[0].Flags = []string{"--feature-gates=RetryGenerateName=true,X=true"} },
		"pause-flag-kubeadm": func(s *State) {
			s.Kubelet.Installed.Minor = 34
			s.Kubelet.Flags = []string{"--pod-infra-container-image=p"}
		},
		"pause-flag-operator": func(s *State) {
			s.Kubelet.Installed.Minor = 34
			s.Kubelet.Flags = []string{"--pod-infra-container-image=p"}
			s.Kubelet.OperatorFlags = s.Kubelet.Flags
		},
		"full":                func(s *State) { s.Disks.Filesystems[0].Available = 300 << 20 },
		"etcd-copy-too-large": func(s *State) { s.Disks.Etcd = 30 << 30 },
		"low":                 func(s *State) { s.Disks.Filesystems[0].Available = 4 << 30 },
		"low-but-allowed": func(s *State) {
			s.Disks.Filesystems[0].Available = 4 << 30
			s.Kubelet.EvictionHard = map[string]string{"imagefs.available": "1%"}
		},
		"low-by-quantity": func(s *State) {
			s.Disks.Filesystems[0].Available = 4 << 30
			s.Kubelet.EvictionHard = map[string]string{"imagefs.available": "3Gi"}
		},
		"containerd-1": func(s *State) { s.Runtime = &Runtime{Name: "containerd", Version: "v1.7.20"} },
		"manifest-away": func(s *State) {
			s.Pods.Static = s.Pods.Static[1:]
			s.Pods.Saved = []SavedManifest{{Path: tmpDir + "/kubeadm-backup-manifests-x/kube-apiserver.yaml"}}
		},
		"manifest-gone":         func(s *State) { s.Pods.Static = s.Pods.Static[1:] },
		"does-not-run":          func(s *State) { s.Pods.Static[0].Running = nil },
		"other-image":           func(s *State) { s.Pods.Static[0].Running.Image = "registry.k8s.io/kube-apiserver:v1.36.2" },
		"kubelet-down":          func(s *State) { s.Kubelet.PID = 0; s.Kubelet.Active = "activating (auto-restart)" },
		"kubelet-not-restarted": func(s *State) { s.Kubelet.Replaced = true; s.Kubelet.Running.Patch = 1 },
		"certificates": func(s *State) {
			s.Certificates = []Certificate{
				{File: "/etc/kubernetes/pki/apiserver.crt", Subject: "kube-apiserver", NotAfter: now.Add(-time.Hour)},
				{File: "/etc/kubernetes/pki/ca.crt", Subject: "kubernetes", NotAfter: now.Add(100 * 24 * time.Hour), Authority: true},
				{File: "/etc/kubernetes/pki/etcd/ca.crt", Subject: "etcd-ca", NotAfter: now.Add(-time.Hour), Authority: true},
				{File: "/var/lib/kubelet/pki/kubelet-client-current.pem", Subject: "system:node:a", NotAfter: now.Add(-time.Hour)},
				{File: "/var/lib/kubelet/pki/kubelet.crt", Subject: "a-ca@1", NotAfter: now.Add(time.Hour), Authority: true},
			}
		},
		"copies": func(s *State) {
			s.Copies = []Copy{{Path: copyPrefix + "a", Bytes: 3 << 30}, {Path: copyPrefix + "b", Bytes: 5 << 20}}
		},
		"reboot": func(s *State) { s.System.RebootRequired = "*** System restart required ***, linux-base" },
		"locked": func(s *State) {
			s.Packages.Lock = &Lock{Path: "/var/lib/dpkg/lock-frontend", PID: 42, Process: "unattended-upgr"}
		},
		"loose":     func(s *State) { s.Packages.Installed[1].Held = false },
		"mirror":    func(s *State) { s.Offers.Ahead = offersOf("1.37.1-1.1") },
		"dpkg-cut":  func(s *State) { s.Packages.Interrupted = true },
		"not-asked": func(s *State) { *s = State{} },
	}
	datadriven.RunTest(t, "testdata/concerns", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		for _, name := range lines(d.Input) {
			change, found := hosts[name]
			if !found {
				t.Fatalf("what is %q?", name)
			}
			delete(hosts, name)
			target, s := goodHost()
			change(&s)
			fmt.Fprintf(&b, "%s\n", name)
			for _, c := range Concerns(target, s, now) {
				fmt.Fprintf(&b, "  %s %s: %s\n      hint: %s\n", map[bool]string{true: "BLOCKS", false: "warns"}[c.Blocks], c.Code, c.Message, c.Hint)
			}
		}
		return b.String()
	})
	for name := range hosts {
		t.Errorf("%s is in no transcript", name)
	}
}

func goodHost() (Target, State) {
	w := &world{role: FirstControlPlane}
	v := skew.Version{Minor: 36, Patch: 3}
	w.state = State{
		Manager: Apt, looked: PartAll, System: &System{}, Automatic: &Automatic{}, Runtime: &Runtime{Name: "containerd", Version: "2.3.7"},
		Repositories: []Repository{{File: "/etc/apt/sources.list.d/kubernetes.list", Line: 1, URI: "https://pkgs.k8s.io/core:/stable:/v1.36/deb/", Minor: 36}},
		Offers:       &Offers{Configured: offersOf("1.36.3-1.1"), Ahead: offersOf("1.37.2-1.1")},
		Packages: &Packages{Installed: []Package{
			{Name: PackageKubeadm, Version: "1.36.3-1.1", Held: true}, {Name: PackageKubelet, Version: "1.36.3-1.1", Held: true}, {Name: PackageCNI, Version: "1.6.0-1.1"},
		}},
		Disks: &Disks{Etcd: 100 << 20, Filesystems: []Disk{
			{Path: "/usr", Device: "/dev/sda1", Mount: "/", Size: 40 << 30, Available: 20 << 30},
			{Path: "/etc/kubernetes", Device: "/dev/sda1", Mount: "/", Size: 40 << 30, Available: 20 << 30},
			{Path: "/var/lib/containerd", Device: "/dev/sda1", Mount: "/data", Size: 40 << 30, Available: 20 << 30},
		}},
		Kubelet: &Kubelet{Installed: v, Running: v, PID: 7, Active: "active (running)"},
		Pods:    &Pods{Listed: true},
	}
	w.setPods("v1.36.3")
	return Target{Run: "r1", Node: "cp1", Role: FirstControlPlane, Version: skew.Version{Minor: 37, Patch: 2}}, w.state
}

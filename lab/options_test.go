// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	got, err := Options{Version: "v1.37.2"}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Options{Name: "default", ControlPlanes: 1, Workers: 2, Version: "1.37.2"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for want, o := range map[string]Options{
		"etcd wants an odd number":       {ControlPlanes: 2},
		"here of 1 to 7":                 {ControlPlanes: 9},
		"a lab has 1 to 50":              {Workers: -1},
		"a lab can be one of 1.36.3":     {Version: "1.30.0"},
		`lab name "A b"`:                 {Name: "A b"},
		"it has more than 30 characters": {Name: strings.Repeat("a", 31)},
	} {
		if _, err := o.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want an error with %q", o, err, want)
		}
	}
}

func testLab(controlPlanes int) *Lab {
	return &Lab{dir: "/labs/lab-x", record: record{Options: Options{Name: "x", ControlPlanes: controlPlanes, Workers: 2, Version: "1.36.3"},
		Subnet: netip.MustParsePrefix("10.213.7.0/24")}}
}

func TestMachines(t *testing.T) {
	var got []string
	for _, m := range testLab(3).Machines() {
		got = append(got, m.Name+" "+string(m.Role)+" "+m.Address.String())
	}
	want := []string{
		"cp1 control-plane 10.213.7.11", "cp2 control-plane 10.213.7.12", "cp3 control-plane 10.213.7.13",
		"w1 worker 10.213.7.21", "w2 worker 10.213.7.22", "lb balancer 10.213.7.3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(testLab(3).Nodes()); n != 5 {
		t.Errorf("%d nodes, want 5: the balancer is none", n)
	}
	if got, want := testLab(3).endpoint(), "10.213.7.3:6443"; got != want {
		t.Errorf("several control planes are reached at %s, want the balancer's %s", got, want)
	}
	if got, want := testLab(1).endpoint(), "10.213.7.11:6443"; got != want {
		t.Errorf("one control plane is reached at %s, want its own %s", got, want)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		status   string
		n        int
		resource bool
	}{
		{"CapEff:\t0\nCapBnd:\t000001ffffffffff\nCapAmb:\t0\n", 38, true}, // all of Linux 6
		{"CapBnd:\t000001fffeffffff\n", 37, false},                        // without CAP_SYS_RESOURCE
		{"CapBnd:\t0000000000000001\n", 1, false},
	} {
		names, resource, err := capabilities(tt.status)
		if err != nil || len(names) != tt.n || resource != tt.resource || names[0] != "CHOWN" {
			t.Errorf("%q: got %d capabilities, resource %v, %v", tt.status, len(names), resource, err)
		}
	}
	if _, _, err := capabilities("Name:\tx\n"); err == nil {
		t.Error("a system that does not tell: want an error")
	}
}

// What is filled in is what kubeadm and the daemons read: a slip in a template
// would show only after minutes.
func TestTemplates(t *testing.T) {
	l := testLab(3)
	first := joining{Machine: l.Machines()[0], Balanced: true, Cluster: "refit-lab-x", Version: "1.36.3", Endpoint: l.endpoint(), PodSubnet: podSubnet}
	first.host = host{Restricted: true, CgroupV1: true}
	worker := first
	worker.Machine, worker.Join = l.Machines()[3], true
	for _, tt := range []struct {
		name          string
		file          string
		data          any
		with, without []string
	}{
		{"init on cgroup v1", "kubeadm.yaml", first,
			[]string{"kind: InitConfiguration", "controlPlaneEndpoint: 10.213.7.3:6443", "cgroupDriver: cgroupfs", "KubeletInUserNamespace", "SystemVerification", "kubernetesVersion: v1.36.3"},
			[]string{"JoinConfiguration"}},
		{"init on cgroup v2", "kubeadm.yaml", joining{Machine: l.Machines()[0]},
			[]string{"cgroupDriver: systemd"}, []string{"controlPlaneEndpoint", "KubeletInUserNamespace", "SystemVerification"}},
		{"join of a worker", "kubeadm.yaml", worker, []string{"kind: JoinConfiguration", "name: w1"}, []string{"controlPlane:", "ClusterConfiguration"}},
		{"balancer", "haproxy.cfg", struct{ Servers []Machine }{l.Nodes()[:3]}, []string{"server cp1 10.213.7.11:6443", "server cp3 10.213.7.13:6443"}, nil},
	} {
		got, err := fill(tt.file, tt.data)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, s := range tt.with {
			if !strings.Contains(got, s) {
				t.Errorf("%s: %q is missing:\n%s", tt.name, s, got)
			}
		}
		for _, s := range tt.without {
			if strings.Contains(got, s) {
				t.Errorf("%s: has %q:\n%s", tt.name, s, got)
			}
		}
	}
	files, err := l.filesOf(first.host, "ssh-ed25519 AAAA\n", "registry.k8s.io/pause:3.10.2")
	if err != nil {
		t.Fatal(err)
	}
	config := files["./etc/containerd/config.toml"]
	for _, s := range []string{"restrict_oom_score_adj = true", "SystemdCgroup = false", "sandbox = 'registry.k8s.io/pause:3.10.2'"} {
		if !strings.Contains(config, s) {
			t.Errorf("containerd's configuration: %q is missing:\n%s", s, config)
		}
	}
}

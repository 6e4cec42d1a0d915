// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func newcomer() Newcomer {
	return Newcomer{Name: "refit-1-1", Version: "v1.37.2", Server: "10.213.7.11:6443", Token: "abcdef.0123456789abcdef", CACertHash: "sha256:" + strings.Repeat("a", 64)}
}

func TestWhatANewcomerMayBe(t *testing.T) {
	if err := newcomer().check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Newcomer){
		`name "A"`:                       func(n *Newcomer) { n.Name = "A" },
		`name "../x"`:                    func(n *Newcomer) { n.Name = "../x" },
		"the store has 1.36.3":           func(n *Newcomer) { n.Version = "v1.30.0" },
		"want HOST:PORT":                 func(n *Newcomer) { n.Server = "10.213.7.11" },
		`server "a\n:1"`:                 func(n *Newcomer) { n.Server = "a\n:1" },
		"its token is no":                func(n *Newcomer) { n.Token = "secret\nx: y" },
		"is no hash":                     func(n *Newcomer) { n.CACertHash = "sha256:" },
		"label a b=c":                    func(n *Newcomer) { n.Labels = map[string]string{"a b": "c"} },
		`taint "a=b"`:                    func(n *Newcomer) { n.Taints = []string{"a=b"} },
		"taint a b=c:NoSchedule":         func(n *Newcomer) { n.Taints = []string{"a b=c:NoSchedule"} },
		`taint "a=b:NoSchedule, x=y:No"`: func(n *Newcomer) { n.Taints = []string{"a=b:NoSchedule, x=y:No"} },
	} {
		n := newcomer()
		change(&n)
		err := n.check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the token is shown: %v", err)
		}
	}
}

// What a newcomer finds on its disk is what kubeadm and systemd read.
func TestTheSeedOfANewcomer(t *testing.T) {
	l := testLab(1)
	n := newcomer()
	n.Labels = map[string]string{"team": "a", "example.org/tier": "", "node-role.kubernetes.io/edge": "", "kubernetes.io/os": "linux"}
	n.Taints = []string{"gpu=:NoSchedule", "example.org/x=y:NoExecute"}
	m, err := l.admit(n)
	if err != nil {
		t.Fatal(err)
	}
	files, secret, err := l.seed(m, n, host{CgroupV1: true})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Kind      string
		Discovery struct {
			BootstrapToken struct {
				APIServerEndpoint string `yaml:"apiServerEndpoint"`
				Token             string
				CACertHashes      []string `yaml:"caCertHashes"`
			} `yaml:"bootstrapToken"`
		}
		NodeRegistration struct {
			Name                  string
			IgnorePreflightErrors []string            `yaml:"ignorePreflightErrors"`
			KubeletExtraArgs      []map[string]string `yaml:"kubeletExtraArgs"`
			Taints                []map[string]string
		} `yaml:"nodeRegistration"`
	}
	if err := yaml.Unmarshal([]byte(secret["./etc/lab/kubeadm.yaml"]), &config); err != nil {
		t.Fatalf("%v\n%s", err, secret["./etc/lab/kubeadm.yaml"])
	}
	r := config.NodeRegistration
	if config.Kind != "JoinConfiguration" || config.Discovery.BootstrapToken.Token != n.Token || config.Discovery.BootstrapToken.APIServerEndpoint != n.Server ||
		len(config.Discovery.BootstrapToken.CACertHashes) != 1 || r.Name != n.Name || len(r.IgnorePreflightErrors) != 1 {
		t.Errorf("%+v", config)
	}
	if len(r.KubeletExtraArgs) != 1 || r.KubeletExtraArgs[0]["value"] != "example.org/tier=,team=a" {
		t.Errorf("the kubelet registers with %v: those of Kubernetes' domains it may not set", r.KubeletExtraArgs)
	}
	if len(r.Taints) != 2 || r.Taints[0]["key"] != "gpu" || r.Taints[1]["effect"] != "NoExecute" {
		t.Errorf("taints %v", r.Taints)
	}
	for name, text := range files {
		if strings.Contains(text, n.Token) {
			t.Errorf("the token is in %s, which everybody may read", name)
		}
	}
	if script := files["./etc/lab/join.sh"]; !strings.Contains(script, "stable:/v1.37/deb/") || !strings.Contains(script, "kubelet='1.37.2-*'") {
		t.Errorf("it installs\n%s", script)
	}
}

func TestMachinesComeAndGo(t *testing.T) {
	l := testLab(1)
	show := func() string {
		var out []string
		for _, m := range l.Machines() {
			out = append(out, m.Name+" "+m.Address.String())
		}
		return strings.Join(out, ", ")
	}
	n := newcomer()
	for _, name := range []string{"a", "b"} {
		n.Name = name
		if _, err := l.admit(n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.admit(n); err == nil {
		t.Error("one name twice")
	}
	l.record.Removed = []string{"w1"}
	l.record.Added = l.record.Added[1:]
	if got, want := show(), "cp1 10.213.7.11, w2 10.213.7.22, b 10.213.7.24"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The address of the one that has gone is not given again soon, and there is an end.
	names := map[string]bool{}
	for i := range maxWorkers {
		n.Name = "n" + strings.Repeat("x", i)
		m, err := l.admit(n)
		if i == 0 && m.Address.String() != "10.213.7.25" {
			t.Errorf("the next one has %s", m.Address)
		}
		if full := i >= maxWorkers-2; full != (err != nil) {
			t.Errorf("number %d: %v", i, err)
		}
		if err == nil && names[m.Address.String()] {
			t.Errorf("%s twice", m.Address)
		}
		names[m.Address.String()] = true
	}
}

func TestEveryMachineKnowsTheWayToThoseYetToCome(t *testing.T) {
	l := testLab(1)
	first, err := l.wiring(l.Machines()[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := l.admit(newcomer())
	if err != nil {
		t.Fatal(err)
	}
	routes := first["./etc/lab/routes"]
	if want := podsOf(n.Address).String() + " " + n.Address.String() + "\n"; !strings.Contains(routes, want) {
		t.Errorf("no %q in\n%s", want, routes)
	}
	if strings.Contains(routes, " 10.213.7.11\n") {
		t.Errorf("a way to itself:\n%s", routes)
	}
	if cni := first["./etc/cni/net.d/10-lab.conflist"]; !strings.Contains(cni, `"subnet":"10.244.11.0/24"`) {
		t.Errorf("its own pods: %s", cni)
	}
}

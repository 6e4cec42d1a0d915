// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"refit.dev/refit/units"
	"refit.dev/refit/units/unitstest"
)

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unitstest.New(old, units.All()...)
		m.Flags(units.Etcd, "--listen-metrics-urls=http://127.0.0.1:2381")
		m.Flags(units.Kubelet, "--config", "/var/lib/kubelet/config.yaml", "--feature-gates=Flag=true")
		m.Write("/var/lib/kubelet/config.yaml", "featureGates: {InFile: false}\n")
		m.Write("/usr/local/bin/kube-proxy", unitstest.Binary(units.KubeProxy, next)) // and not restarted
		s, err := units.Observe(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if s.Arch != "amd64" || len(s.Units) != 6 || len(s.Gaps) != 0 {
			t.Errorf("%s, %d units, gaps %q", s.Arch, len(s.Units), s.Gaps)
		}
		if got := units.Describe(s); !strings.Contains(got, "etcd 3.6.16, kube-apiserver v1.36.3") || !strings.Contains(got, "kube-proxy v1.36.3 (v1.37.2 on the disk)") {
			t.Errorf("described as %s", got)
		}
		for _, u := range s.Units {
			if !u.Health.Asked || u.Health.Problem != "" || u.Fresh != (u.Component != units.KubeProxy) {
				t.Errorf("%s: %+v, fresh %t", u.Component, u.Health, u.Fresh)
			}
		}
		u, _ := s.Get(units.Kubelet)
		if len(u.Gates) != 2 || !u.Gates["Flag"] || u.Gates["InFile"] {
			t.Errorf("gates %v", u.Gates)
		}
		want := map[string]units.Binary{units.Kubelet: {Version: old, SHA256: u.SHA256}, units.KubeProxy: {Version: next, SHA256: unitstest.Sum(m.Text("/usr/local/bin/kube-proxy"))}}
		if got := units.Verify(s, want); len(got) != 1 || !strings.Contains(got[0], "kube-proxy.service runs v1.36.3, and /usr/local/bin/kube-proxy has v1.37.2") {
			t.Errorf("verified: %q", got)
		}
	})
}

// A program that cannot be named safely is refused.
func TestObserveRefuses(t *testing.T) {
	m := unitstest.New(old, units.Kubelet)
	m.Write("/opt/a b/kubelet", "kubelet "+old)
	for _, path := range []string{"kubelet", "/opt/../kubelet", "/opt/$x/kubelet"} {
		m.Program(units.Kubelet, path)
		if _, err := units.Observe(t.Context(), m); err == nil || !strings.Contains(err.Error(), "want the absolute path of a binary") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Health is asked where flags, variables, configurations and what is beside them say.
func TestObserveHealth(t *testing.T) {
	for name, c := range map[string]struct {
		component string
		flags     []string
		variables []string
		dial      string
	}{
		"kube-proxy's port in its address": {units.KubeProxy, []string{"--healthz-bind-address=0.0.0.0:10300"}, nil, "127.0.0.1:10300"},
		"a configuration":                  {units.Kubelet, []string{"--config=/c"}, nil, "127.0.0.1:10301"},
		"a file beside it":                 {units.Kubelet, []string{"--config=/c", "--config-dir=/d"}, nil, "127.0.0.1:10303"},
		"a flag before a configuration":    {units.Kubelet, []string{"--config=/c", "--healthz-port=10304"}, nil, "127.0.0.1:10304"},
		"etcd's metrics":                   {units.Etcd, []string{"--listen-metrics-urls=https://127.0.0.1:1,http://192.0.2.7:2"}, nil, "192.0.2.7:2"},
		"etcd's variable":                  {units.Etcd, nil, []string{"ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:3"}, "127.0.0.1:3"},
		"etcd's clients":                   {units.Etcd, []string{"--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:4"}, nil, "127.0.0.1:4"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := unitstest.New(old, c.component)
				m.Flags(c.component, c.flags...)
				m.Environment(c.component, c.variables...)
				m.Write("/c", "healthzPort: 10301\n")
				m.Write("/d/1.conf", "healthzPort: 10302\n")
				m.Write("/d/2.conf", "healthzPort: 10303\n")
				m.Write("/d/3.yaml", "healthzPort: 10309\n")
				dials := dialed{Machine: m}
				if _, err := units.Observe(t.Context(), &dials); err != nil || !slices.Equal(dials.at, []string{c.dial}) {
					t.Errorf("asked at %q, %v", dials.at, err)
				}
			})
		})
	}
}

// dialed notes which addresses are dialed.
type dialed struct {
	*unitstest.Machine
	at []string
}

func (d *dialed) Dial(ctx context.Context, address string) (net.Conn, error) {
	d.at = append(d.at, address)
	return d.Machine.Dial(ctx, address)
}

// An API server that lets nobody ask it without a login is asked with the certificate by which it
// asks kubelets. Where that does not do, it is said that it is not known to be well.
func TestObserveAnonymous(t *testing.T) {
	for name, c := range map[string]struct {
		flags   []string
		special []string
		asked   bool
		problem string
	}{
		"with a certificate":                 {[]string{"--kubelet-client-certificate=/c", "--kubelet-client-key=/k"}, []string{"secured"}, true, ""},
		"with a certificate, not well":       {[]string{"--kubelet-client-certificate=/c", "--kubelet-client-key=/k"}, []string{"secured", "unwell"}, true, "/livez says 500: something failed: reason withheld"},
		"without":                            {nil, []string{"secured"}, false, ""},
		"with one that is not there":         {[]string{"--kubelet-client-certificate=/gone", "--kubelet-client-key=/k"}, []string{"secured"}, false, ""},
		"with one that is not understood":    {[]string{"--kubelet-client-certificate=/odd", "--kubelet-client-key=/k"}, []string{"secured"}, false, ""},
		"with one that it does not know":     {[]string{"--kubelet-client-certificate=/c", "--kubelet-client-key=/k"}, []string{"closed"}, false, ""},
		"where everybody may, without a one": {nil, nil, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := unitstest.New(old)
				certificate, key, err := unitstest.Certificate()
				if err != nil {
					t.Fatal(err)
				}
				m.Write("/c", certificate)
				m.Write("/k", key)
				m.Write("/odd", "odd")
				m.Add(units.APIServer, unitstest.Binary(units.APIServer, old, c.special...))
				m.Flags(units.APIServer, c.flags...)
				s, err := units.Observe(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				u, _ := s.Get(units.APIServer)
				if u.Health.Asked != c.asked || u.Health.Problem != c.problem || (len(s.Gaps) == 1) == c.asked {
					t.Errorf("got %+v, gaps %q", u.Health, s.Gaps)
				}
			})
		})
	}
}

// The words of the process count where systemd does not tell them apart; where they are others,
// it is said.
func TestObserveCompares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := unitstest.New(old, units.Kubelet)
		m.Flags(units.Kubelet, "--node-labels=a=b", "--x=one two", "--v=2")
		s, err := units.Observe(t.Context(), m)
		u, _ := s.Get(units.Kubelet)
		if want := []string{"--node-labels=a=b", "--x=one two", "--v=2"}; err != nil || !slices.Equal(u.Flags, want) || len(s.Gaps) != 0 {
			t.Errorf("got %q, %v, gaps %q", u.Flags, err, s.Gaps)
		}
		m.Words(units.Kubelet, kubelet, "--v=3")
		if s, err = units.Observe(t.Context(), m); err != nil || len(s.Gaps) != 1 || !strings.Contains(s.Gaps[0], "was started with other flags") {
			t.Errorf("gaps %q, %v", s.Gaps, err)
		}
	})
}

// What stands in the way of the binary is found, and not executed.
func TestObserveWrappers(t *testing.T) {
	for name, c := range map[string]struct {
		words []string
		want  string
	}{
		"a script of its name": {[]string{"/opt/kubelet", "--v=2"}, "/opt/kubelet, which is not a binary"},
		"a script":             {[]string{"/opt/kubelet.sh", "--v=2"}, "/opt/kubelet.sh, which is not called kubelet"},
		"env":                  {[]string{"/usr/bin/env", "kubelet", "--v=2"}, "/usr/bin/env, which is not called kubelet"},
		"a word before flags":  {[]string{"/bin/kubelet", "kubelet", "--v=2"}, "/bin/kubelet with words before its flags"},
		"nothing":              {[]string{"/gone/kubelet"}, "/gone/kubelet, which is not a binary"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := unitstest.New(old, units.Kubelet)
				m.Write("/opt/kubelet", "#!/bin/sh\nexec kubelet")
				m.Write("/opt/kubelet.sh", "#!/bin/sh\nexec kubelet")
				m.Write("/usr/bin/env", "env 9.1")
				m.Write("/bin/kubelet", unitstest.Binary("hyperkube", old))
				m.Program(units.Kubelet, c.words[0], c.words[1:]...)
				m.Before = func(argv []string) error {
					if argv[0] == c.words[0] {
						t.Errorf("executed: %q", argv)
					}
					return nil
				}
				s, err := units.Observe(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				if u, _ := s.Get(units.Kubelet); u.Wrapper != c.want || u.Version != "" {
					t.Errorf("got %q, version %q", u.Wrapper, u.Version)
				}
			})
		})
	}
}

// runs answers as a binary does.
func runs(binary string) units.Runner {
	return func(_ context.Context, argv []string) (int, string, error) {
		code, out := unitstest.Ask(binary, argv[1:])
		return code, out, nil
	}
}

func TestAsk(t *testing.T) {
	for name, c := range map[string]struct {
		component string
		flags     []string
		config    string
		special   []string
		want      []string
	}{
		"all is known":           {units.Kubelet, []string{"--v=2", "--config=/c"}, "featureGates: {A: true}", nil, nil},
		"a flag":                 {units.APIServer, []string{"--gone", "5", "--v=2"}, "", []string{"flag=gone"}, []string{"does not know the flag --gone"}},
		"a gate of a drop-in":    {units.Kubelet, []string{"--config-dir=/d"}, "", []string{"gate=Gone"}, []string{"does not know the feature gate Gone"}},
		"flags, each":            {units.APIServer, []string{"--b=1", "--a=1", "--b=2"}, "", []string{"flag=a", "flag=b"}, []string{"does not know the flag --a", "does not know the flag --b"}},
		"etcd's flag":            {units.Etcd, []string{"--gone=x"}, "", []string{"flag=gone"}, []string{"does not know the flag --gone"}},
		"a gate among others":    {units.Scheduler, []string{"--feature-gates=A=true,Gone=true"}, "", []string{"gate=Gone"}, []string{"does not know the feature gate Gone"}},
		"a gate of a file":       {units.Kubelet, []string{"--config=/c"}, "featureGates: {Gone: true, Here: false}", []string{"gate=Gone"}, []string{"does not know the feature gate Gone"}},
		"a gate of kube-proxy's": {units.KubeProxy, []string{"--config=/c"}, "featureGates: {Gone: true}", []string{"gate=Gone"}, []string{"does not know the feature gate Gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := unitstest.New(old, c.component)
				m.Flags(c.component, c.flags...)
				m.Write("/c", c.config)
				m.Write("/d/1.conf", "featureGates: {Gone: true}")
				s, err := units.Observe(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				u, _ := s.Get(c.component)
				asked, err := units.Ask(t.Context(), runs(unitstest.Binary(c.component, next, c.special...)), "new", u)
				if err != nil || asked.Version == "" || !slices.Equal(asked.Problems, c.want) {
					t.Errorf("got %+v, %v, want %q", asked, err, c.want)
				}
			})
		})
	}
	u := units.Unit{Component: units.Kubelet}
	u.Service.Argv = []string{"kubelet"}
	odd := func(context.Context, []string) (int, string, error) { return 0, "hello\n", nil }
	if asked, err := units.Ask(t.Context(), odd, "new", u); err != nil || len(asked.Problems) != 1 || !strings.Contains(asked.Problems[0], "does not say which version it is: hello") {
		t.Errorf("of what is no binary of Kubernetes: %+v, %v", asked, err)
	}
}

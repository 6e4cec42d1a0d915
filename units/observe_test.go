// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package units_test

import (
	"context"
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

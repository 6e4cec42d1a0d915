// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

const small = `control-plane cp-1 v1.36.3
worker w-1 v1.36.3 pods=ss
worker w-2 v1.36.3
config v1.36.3
host cp-1 offers=1.37.2
host w-1 offers=1.37.2
host w-2 offers=1.37.2
`

func stateOf(t *testing.T, text string) *upgrade.State {
	t.Helper()
	town, err := parseTown(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := town.make()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func saved(t *testing.T, s *upgrade.State) upgrade.SavedPlan {
	t.Helper()
	in := upgrade.Intent{Version: skew.Version{Minor: 37, Patch: 2}, Workers: skew.FewestHops, MaxUnavailable: 1}
	p := upgrade.Save(s, in, upgrade.Decide(s, in))
	if b := p.Blockers(); len(b) > 0 {
		t.Fatalf("%+v", b)
	}
	return p
}

// What is written is read back as the same, from YAML and from JSON.
func TestSaveThenRead(t *testing.T) {
	p := saved(t, stateOf(t, small))
	asJSON, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{asJSON, asYAML} {
		got, err := upgrade.ReadPlan(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(got); err != nil || !bytes.Equal(again, asJSON) || !reflect.DeepEqual(got.Ground, p.Ground) {
			t.Errorf("%v\nwrote %s\nread  %s", err, asJSON, again)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good, err := yaml.Marshal(saved(t, stateOf(t, small)))
	if err != nil {
		t.Fatal(err)
	}
	for says, edit := range map[string][2]string{
		"it is neither YAML nor JSON":         {"apiVersion", "\t{"},
		"it is no plan: its kind is":          {"kind: UpgradePlan", "kind: Pod"},
		"of version":                          {"v1alpha1", "v9"},
		"it is damaged":                       {"\nfrom:", "\nform:"},
		"it leads to":                         {"\nto: v1.37.2", "\nto: v1.38.0"},
		"maxUnavailable or workerHops":        {"\nmaxUnavailable: 1", "\nmaxUnavailable: 3"},
		"it does not say what it stands on":   {"\ncluster: uid", "\ncluster: ''"},
		"a hop leads from 1.36":               {"  to: v1.37.2\n  workers:", "  to: v1.39.0\n  workers:"},
		"node w-1 is not that of the ground":  {"  - name: w-1\n", "  - name: w-9\n"},
		"it has blockers":                     {"severity: warning", "severity: blocker"},
		"it holds more than one YAML documen": {"apiVersion", "a: b\n---\napiVersion"},
	} {
		bad := strings.Replace(string(good), edit[0], edit[1], 1)
		if says[:8] == "it holds" {
			bad = string(good) + "---\na: b\n"
		}
		if bad == string(good) {
			t.Errorf("%q is not in\n%s", edit[0], good)
		}
		if _, err := upgrade.ReadPlan(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
	for _, text := range []string{"ssh-ed25519 AAAA me\n", "[a]\n", "3\n"} {
		if _, err := upgrade.ReadPlan(strings.NewReader(text)); err == nil || err.Error() != "it is no plan: it has no fields apiVersion and kind" {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := upgrade.ReadPlan(strings.NewReader(" \n")); err == nil || err.Error() != "it is empty" {
		t.Error(err)
	}
}

// A plan is stale when what it stands on has changed, and says in what.
func TestStale(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, says string }{
		"nothing":     {"", "", ""},
		"other pods":  {"pods=ss", "pods=s", ""},
		"a kubelet":   {"worker w-2 v1.36.3", "worker w-2 v1.37.2", "kube-proxy on w-2 is v1.37.2 now, not v1.36.3\nkubelet on w-2 is v1.37.2 now, not v1.36.3\npackage kubeadm on w-2 is 1.37.2-1.1 now, not 1.36.3-1.1\npackage kubectl on w-2 is 1.37.2-1.1 now, not 1.36.3-1.1\npackage kubelet on w-2 is 1.37.2-1.1 now, not 1.36.3-1.1"},
		"kubeadm":     {"config v1.36.3", "config v1.37.2", "kubeadm's record of the cluster says v1.37.2 now, not v1.36.3"},
		"cordoned":    {"worker w-2 v1.36.3", "worker w-2 v1.36.3 cordoned", "node w-2 was cordoned"},
		"not ready":   {"worker w-2 v1.36.3", "worker w-2 v1.36.3 not-ready", "node w-2 is not Ready any more\nNode w-2: is not Ready, and has to move"},
		"new":         {"config v1.36.3", "config v1.36.3\nworker w-3 v1.36.3", "node w-3 is new"},
		"gone":        {"worker w-2 v1.36.3", "", "node w-2 is gone"},
		"no packages": {"host w-2 offers=1.37.2", "host w-2 offers=1.37.1", "Node w-2: its repositories do not have kubeadm, kubelet, kubectl v1.37.2; they have v1.37.1"},
		"unreachable": {"host w-2 offers=1.37.2", `host w-2 {problem: "connection refused"}`, "Node w-2: its machine could not be looked at: connection refused"},
		"local data":  {"pods=ss", "pods=e", "Node w-1: cannot delete Pods with local storage (use --delete-emptydir-data to override): shop/web-0-w-1"},
	} {
		p := saved(t, stateOf(t, small))
		s := stateOf(t, strings.Replace(small, tc.old, tc.new, 1))
		if got := strings.Join(p.Stale(s), "\n"); got != tc.says {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tc.says)
		}
	}
	p := saved(t, stateOf(t, small))
	away := stateOf(t, strings.Replace(small, "host w-2 offers=1.37.2", `host w-2 {problem: "w-2: log in: no"}`, 1))
	if got := p.Unreached(away); len(got) != 1 || got[0] != "node w-2: w-2: log in: no" || len(p.Unreached(stateOf(t, small))) > 0 {
		t.Errorf("unreached are %q", got)
	}
	blind := stateOf(t, small)
	blind.Hosts = nil
	if !p.Ground.Looked() || upgrade.GroundOf(blind).Looked() || len(p.Unreached(blind)) > 0 {
		t.Error("what was looked at is not told from what was not")
	}
	other := stateOf(t, small)
	other.Cluster = "another"
	if got := p.Stale(other); len(got) != 1 || got[0] != "it is another cluster" {
		t.Error(got)
	}
}

// A file whose visits are not those of the plan that refit makes now was changed by hand.
func TestStaleWhenTheFileWasChanged(t *testing.T) {
	three := strings.Replace(small, "worker w-1 v1.36.3 pods=ss\nworker w-2", "control-plane cp-2 v1.36.3\nworker w-1 v1.36.3 pods=ss\nworker w-2", 1)
	for name, tc := range map[string]struct {
		edit func(h *upgrade.Hop)
		says string
	}{
		"a control plane among the workers": {func(h *upgrade.Hop) {
			h.Workers, h.ControlPlane = append(h.Workers, h.ControlPlane[1]), slices.Delete(h.ControlPlane, 1, 2)
		}, "that has node cp-2 to v1.37.2 as control-plane"},
		"no control plane":    {func(h *upgrade.Hop) { h.ControlPlane = nil }, "that has node cp-1"},
		"another role":        {func(h *upgrade.Hop) { h.ControlPlane[0].Role = "x" }, "and not node cp-1 to v1.37.2 as x"},
		"fewer steps":         {func(h *upgrade.Hop) { h.Workers[0].Steps = h.Workers[0].Steps[:1] }, "(kubeadm-package)"},
		"no kube-proxy":       {func(h *upgrade.Hop) { h.KubeProxy = false }, "kube-proxy to v1.37.2"},
		"workers in any turn": {func(h *upgrade.Hop) { slices.Reverse(h.Workers) }, ""},
	} {
		s := stateOf(t, three)
		p := saved(t, s)
		tc.edit(&p.Hops[0])
		if got := strings.Join(p.Stale(s), "\n"); (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
			t.Errorf("%s: got %q, want %q", name, got, tc.says)
		}
	}
}

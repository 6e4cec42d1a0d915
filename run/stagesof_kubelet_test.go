// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"strings"
	"testing"

	"refit.dev/refit/skew"
	"refit.dev/refit/upgrade"
)

// A visit without a step for the kubelet leaves it for a later visit of its node; if there is
// none, the kubelet is at the version already, and the stages bring the node there.
func TestStagesOfKubelets(t *testing.T) {
	visit := func(node string, role upgrade.Role, kubelet bool) upgrade.NodeSteps {
		v := upgrade.NodeSteps{Node: node, Role: role, Steps: []upgrade.Step{{Name: upgrade.StepPackages}}}
		if kubelet {
			v.Steps = append(v.Steps, upgrade.Step{Name: upgrade.StepKubelet})
		}
		return v
	}
	hop := func(minor int, planes ...upgrade.NodeSteps) upgrade.Hop {
		return upgrade.Hop{To: skew.Version{Minor: minor, Patch: 2}, ControlPlane: planes}
	}
	for name, c := range map[string]struct {
		hops []upgrade.Hop
		want string
	}{
		"with it": {[]upgrade.Hop{hop(37, visit("a", upgrade.FirstControlPlane, true))}, "v1.37.2 a"},
		"there":   {[]upgrade.Hop{hop(37, visit("a", upgrade.FirstControlPlane, false))}, "v1.37.2 a there"},
		"later in the hop": {[]upgrade.Hop{hop(37, visit("a", upgrade.FirstControlPlane, false), visit("b", upgrade.ControlPlane, false),
			visit("a", upgrade.ControlPlaneKubelet, true))}, "v1.37.2 a later, v1.37.2 b there, v1.37.2 a"},
		"in a later hop": {[]upgrade.Hop{hop(36, visit("a", upgrade.FirstControlPlane, false)), hop(37, visit("a", upgrade.FirstControlPlane, false))},
			"v1.36.2 a later, v1.37.2 a there"},
	} {
		stages, _ := StagesOf(&upgrade.Plan{Hops: c.hops}, "")
		var got, nodes []string
		for _, s := range stages {
			text := s.Version + " " + s.Nodes[0]
			if s.KubeletLater {
				text += " later"
			}
			if s.KubeletThere {
				text += " there"
			}
			got = append(got, text)
			nodes = append(nodes, s.Nodes...)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		spec := upgradeSpec(nodes...)
		spec.Upgrade.Stages = stages
		if err := spec.validateStages(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A control plane whose kubelet is at the version is upgraded where it is.
func TestUpgradeWithTheKubeletThere(t *testing.T) {
	c := newFakeCluster(t, "a")
	spec := upgradeSpec("a")
	spec.Upgrade.Stages[0].KubeletThere = true
	tr, f := upgradeTrial(t, c, spec)
	if o := tr.run(deadline(t)); o.Result != "done" {
		t.Fatalf("%+v", o)
	}
	f.atVersion(t, "a")
	if log := strings.Join(c.log(), "\n"); strings.Contains(log, "cordon") || strings.Contains(log, "drain") {
		t.Errorf("it was drained:\n%s", log)
	}
}

// Packages that come along with others are held again as well; of a node of which nothing
// is known to be held, that is found out when its turn comes.
func TestNoteHeld(t *testing.T) {
	held := map[string][]string{"a": {"kubelet"}}
	hosts := map[string]upgrade.Host{
		"a": {Packages: []upgrade.Package{{Name: "kubelet", Held: true}, {Name: "cri-tools", Held: true}, {Name: "kubectl"}}},
		"b": {Packages: []upgrade.Package{{Name: "kubectl"}}},
	}
	NoteHeld(held, hosts)
	if got := fmt.Sprint(held); got != "map[a:[kubelet cri-tools]]" {
		t.Error(got)
	}
}

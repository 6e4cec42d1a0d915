// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/provider"
)

func TestLikeness(t *testing.T) {
	old := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			"pool": "blue", "tier": "a", "shop.example/x": "1", "node-role.kubernetes.io/worker": "", "node-restriction.kubernetes.io/y": "2",
			"kubernetes.io/hostname": "w1", "topology.kubernetes.io/zone": "a", "beta.kubernetes.io/arch": "amd64", "node.kubernetes.io/instance-type": "big",
		}},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			{Key: "dedicated", Value: "x", Effect: corev1.TaintEffectNoSchedule}, {Key: cluster.TaintKey, Value: "r", Effect: corev1.TaintEffectPreferNoSchedule},
			{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}, {Key: "node.cloudprovider.kubernetes.io/shutdown", Effect: corev1.TaintEffectNoSchedule},
		}},
	}
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"pool": "green", "kubernetes.io/hostname": "w2"}}}
	lack, differ := likenessOf(old).missing(fresh)
	if len(lack.labels) != 4 || lack.labels["tier"] != "a" || lack.labels["shop.example/x"] != "1" || lack.labels["node-restriction.kubernetes.io/y"] != "2" {
		t.Errorf("labels %v", lack.labels)
	}
	if _, role := lack.labels["node-role.kubernetes.io/worker"]; !role {
		t.Errorf("labels %v", lack.labels)
	}
	if !slices.Equal(lack.taintTexts(), []string{"dedicated=x:NoSchedule"}) || !slices.Equal(differ, []string{"pool"}) {
		t.Errorf("taints %v, differ %v", lack.taintTexts(), differ)
	}
	fresh.Labels, fresh.Spec = old.Labels, old.Spec
	if lack, _ := likenessOf(old).missing(fresh); !lack.empty() {
		t.Errorf("%+v", lack)
	}
}

// There are never more machines than the surge that no old one has made room for.
func TestProvided(t *testing.T) {
	spec := upgradeSpec("a", "b", "c", "d")
	spec.Upgrade.Replace = &Replace{Surge: 2, Machines: map[string]provider.Machine{"b": {ID: "1"}, "c": {ID: "2"}, "d": {ID: "3"}}}
	spec.Order = []string{"a", "d", "c", "b"}
	p := Progress{Nodes: map[string]*NodeStatus{}, Active: map[string]bool{}}
	for _, n := range spec.Nodes {
		p.Nodes[n.Name] = &NodeStatus{Standing: Waiting, Steps: map[Step]State{}}
	}
	want := func(names ...string) {
		t.Helper()
		if got := spec.provided([]string{"b", "c", "d"}, p); !slices.Equal(got, names) {
			t.Errorf("got %v, want %v", got, names)
		}
	}
	want("d", "c")
	p.Active["b"] = true // its machine is being made
	want("d", "b")
	p.Active["b"], p.Nodes["b"].Machine = false, &Made{}
	p.Nodes["c"].Machine = &Made{}
	want("c", "b") // those of another process are carried on
	p.Nodes["c"].Steps[StepDispose] = Done
	want("d", "c", "b")
	spec.Upgrade.Replace.Surge = 1
	want("c", "b")
	p.Nodes["b"].Standing = Skipped // somebody has deleted it meanwhile: its machine waits for nothing
	if got := spec.provided([]string{"d"}, p); !slices.Equal(got, []string{"d"}) {
		t.Errorf("after a node that is gone: %v", got)
	}
}

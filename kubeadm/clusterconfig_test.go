// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"strings"
	"testing"
)

func TestSetAPIServerArgs(t *testing.T) {
	args := []Arg{{"default-not-ready-toleration-seconds", "60"}, {"default-unreachable-toleration-seconds", "60"}}
	const (
		list = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
		maps = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n"
		set  = "  - name: default-not-ready-toleration-seconds\n    value: \"60\"\n  - name: default-unreachable-toleration-seconds\n    value: \"60\"\n"
		both = "    default-not-ready-toleration-seconds: \"60\"\n    default-unreachable-toleration-seconds: \"60\"\n"
	)
	for name, tt := range map[string]struct{ before, after, fails string }{
		"no apiServer":       {before: list + "clusterName: x\n", after: list + "clusterName: x\napiServer:\n  extraArgs:\n" + set},
		"empty apiServer":    {before: list + "apiServer: {}\nclusterName: x\n", after: list + "apiServer:\n  extraArgs:\n" + set + "clusterName: x\n"},
		"apiServer is null":  {before: list + "apiServer:\n", after: list + "apiServer:\n  extraArgs:\n" + set},
		"others stay":        {before: list + "apiServer:\n  extraArgs:\n  - name: v # why\n    value: \"2\"\n", after: list + "apiServer:\n  extraArgs:\n  - name: v # why\n    value: \"2\"\n" + set},
		"already":            {before: list + "apiServer:   {}\n# as it is\n", after: list + "apiServer:\n  extraArgs:\n" + set + "# as it is\n"},
		"another value":      {before: list + "apiServer:\n  extraArgs:\n" + strings.ReplaceAll(set, "60", "5"), after: list + "apiServer:\n  extraArgs:\n" + set},
		"the same twice":     {before: list + "apiServer:\n  extraArgs:\n" + set + set, after: list + "apiServer:\n  extraArgs:\n" + set},
		"map: no apiServer":  {before: maps, after: maps + "apiServer:\n  extraArgs:\n" + both},
		"map: others stay":   {before: maps + "apiServer:\n  extraArgs:\n    v: \"2\"\n  timeoutForControlPlane: 4m0s\n", after: maps + "apiServer:\n  extraArgs:\n    v: \"2\"\n" + both + "  timeoutForControlPlane: 4m0s\n"},
		"map: another value": {before: maps + "apiServer:\n  extraArgs:\n" + strings.ReplaceAll(both, "\"60\"", "5"), after: maps + "apiServer:\n  extraArgs:\n" + both},
		"list in a map's":    {before: maps + "apiServer:\n  extraArgs: []\n", fails: "not of the form"},
		"unknown version":    {before: "apiVersion: kubeadm.k8s.io/v1\nkind: ClusterConfiguration\n", fails: "does not know"},
		"another kind":       {before: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n", fails: "another kind"},
		"no mapping":         {before: "- a\n", fails: "no mapping"},
		"nothing":            {before: "", fails: "no mapping"},
		"no YAML":            {before: "a: [", fails: "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := SetAPIServerArgs(tt.before, args)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err != nil || got != tt.after {
				t.Fatalf("got %v\n%swant\n%s", err, got, tt.after)
			}
			if again, err := SetAPIServerArgs(got, args); err != nil || again != got {
				t.Errorf("a second time: %v\n%s", err, again)
			}
		})
	}
}

func TestSameBut(t *testing.T) {
	args := []Arg{{"a", "1"}}
	manifest := func(words ...string) string {
		return "kind: Pod\nmetadata:\n  name: kube-apiserver\nspec:\n  containers:\n  - command: [" + strings.Join(words, ", ") + "]\n    image: x\n"
	}
	for _, tt := range []struct {
		before, after string
		same          bool
	}{
		{manifest("k"), manifest("k", "--a=1"), true},
		{manifest("k", "--a=2", "--b=1"), manifest("k", "--b=1", "--a=1"), true},
		{manifest("k", "--ab=2"), manifest("k", "--a=1"), false},
		{manifest("k", "--b=1"), manifest("k", "--b=2"), false},
		{manifest("k") + "status: {}\n", manifest("k"), true},
		{manifest("k") + "status: {a: b}\n", manifest("k"), false},
		{strings.Replace(manifest("k"), "metadata:\n", "metadata:\n  creationTimestamp: null\n", 1), manifest("k"), true},
		{manifest("k"), strings.Replace(manifest("k"), "image: x", "image: y", 1), false},
	} {
		if same, err := SameBut(tt.before, tt.after, args); err != nil || same != tt.same {
			t.Errorf("%v, %v:\n%s%s", same, err, tt.before, tt.after)
		}
	}
	if _, err := SameBut("kind: Pod\n", manifest("k"), args); err == nil {
		t.Error("a pod without a container is a manifest")
	}
}

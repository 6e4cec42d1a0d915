// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/provider"
)

// Whatever a plan says of a node with the label of the control plane or of etcd: its machine is not removed.
func TestReplacesNoControlPlane(t *testing.T) {
	for _, label := range []string{cluster.ControlPlaneLabel, "node-role.kubernetes.io/master", "node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/etcd", "node-role.kubernetes.io/edge"} {
		s, err := cluster.FromObjects(testTime,
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{label: "true"}}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		u := &Upgrade{Managed: &Managed{}, Replace: &Replace{}, Stages: []Stage{{Role: ManagedControlPlane}, {Role: Workers, Nodes: []string{"a", "b"}}}}
		r, err := u.replaces(s, []provider.Machine{{ID: "vm-a", Node: "a"}, {ID: "vm-b", Node: "b"}})
		if label == "node-role.kubernetes.io/edge" {
			if err != nil || len(r.Machines) != 2 {
				t.Errorf("%s: %v, %v", label, r, err)
			}
			continue
		}
		if _, blocked := errors.AsType[*BlockedError](err); !blocked || !strings.Contains(err.Error(), "1 node is labelled as of the control plane") ||
			!strings.Contains(err.Error(), "a ("+label+")") || !strings.Contains(hint.Of(err), "nothing was changed") {
			t.Errorf("%s: %v", label, err)
		}
	}
}

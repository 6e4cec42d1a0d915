// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"
)

// A pod that was scheduled is exported as one that could go anywhere; where its owner wants it stays.
func TestCleanScheduledPod(t *testing.T) {
	const pod = `
apiVersion: v1
kind: Pod
metadata:
  name: p
  labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: a}
  managedFields:
  - manager: kubectl
    operation: Update
    fieldsV1: {"f:metadata": {"f:labels": {".": {}, OWNED}}, "f:spec": {"f:containers": {}}}
spec:
  nodeName: n
  containers: [{name: c, image: i}]
`
	for owned, want := range map[string]string{
		`"f:app": {}`: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - image: i\n    name: c\n",
		`"f:topology.kubernetes.io/zone": {}`: "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    topology.kubernetes.io/zone: a\n  name: p\n" +
			"spec:\n  containers:\n  - image: i\n    name: c\n",
	} {
		objects, err := Parse([]byte(strings.Replace(pod, "OWNED", owned, 1)))
		if err != nil || len(objects) != 1 {
			t.Fatal(objects, err)
		}
		Clean(objects[0])
		got, err := Encode(objects[0].Object)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", owned, err, got)
		}
	}
}

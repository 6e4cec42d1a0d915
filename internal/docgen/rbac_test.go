// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestDocumentedRole: the role that docs/how-to gives to users is the one that
// the embedded cluster's maintainer has, with which tests and the demo work.
func TestDocumentedRole(t *testing.T) {
	documented, tested := rules(t, "../../docs/how-to/refit-maintainer.yaml"), rules(t, "../../twin/manifests/maintainer.yaml")
	if len(tested["ClusterRole"]) == 0 || len(tested["Role"]) == 0 {
		t.Fatalf("no rules found: %v", tested)
	}
	if !reflect.DeepEqual(documented, tested) {
		t.Errorf("documented:\n%v\ntested:\n%v", documented, tested)
	}
}

func rules(t *testing.T, path string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]rbacv1.PolicyRule{}
	for document := range bytes.SplitSeq(data, []byte("\n---\n")) {
		var role struct {
			Kind  string              `json:"kind"`
			Rules []rbacv1.PolicyRule `json:"rules"`
		}
		if err := yaml.Unmarshal(document, &role); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if role.Rules != nil {
			out[role.Kind] = append(out[role.Kind], role.Rules...)
		}
	}
	return out
}

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

// TestDocumentedRole: the roles that docs/how-to gives to users are those that the
// embedded cluster's maintainers have, with which tests and the demo work, and whoever
// has no need of one of the stronger roles there does without.
func TestDocumentedRole(t *testing.T) {
	documented, tested := rules(t, "../../docs/how-to/refit-maintainer.yaml"), rules(t, "../../twin/manifests/maintainer.yaml")
	if len(tested["ClusterRole refit-maintainer"]) == 0 || len(tested["Role refit-maintainer"]) == 0 {
		t.Fatalf("no rules found: %v", tested)
	}
	if !reflect.DeepEqual(documented, tested) {
		t.Errorf("documented:\n%v\ntested:\n%v", documented, tested)
	}
}

// TestRolesOfTheTwin: of the users of the embedded cluster only those have a stronger role
// that are there for it.
func TestRolesOfTheTwin(t *testing.T) {
	got := map[string][]string{}
	each(t, "../../twin/manifests/maintainer.yaml", func(document []byte) {
		var binding rbacv1.ClusterRoleBinding
		if err := yaml.Unmarshal(document, &binding); err != nil {
			t.Fatal(err)
		}
		for _, subject := range binding.Subjects {
			got[subject.Name] = append(got[subject.Name], binding.RoleRef.Kind+" "+binding.RoleRef.Name)
		}
	})
	want := map[string][]string{
		"refit-twin:maintainer":                  {"ClusterRole refit-maintainer", "Role refit-maintainer"},
		"refit-twin:maintainer-surge":            {"ClusterRole refit-maintainer", "ClusterRole refit-maintainer-surge", "Role refit-maintainer"},
		"refit-twin:maintainer-eviction-timeout": {"ClusterRole refit-maintainer", "ClusterRole refit-maintainer-eviction-timeout", "Role refit-maintainer"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// rules are those of each role in a file.
func rules(t *testing.T, path string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	out := map[string][]rbacv1.PolicyRule{}
	each(t, path, func(document []byte) {
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := yaml.Unmarshal(document, &role); err != nil {
			t.Fatal(err)
		}
		if role.Rules != nil {
			out[role.Kind+" "+role.Name] = role.Rules
		}
	})
	return out
}

func each(t *testing.T, path string, do func(document []byte)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for document := range bytes.SplitSeq(data, []byte("\n---\n")) {
		do(document)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Of the service accounts in kube-system only those of kube-controller-manager are left out, and only where nobody has added to them.
func TestServiceAccounts(t *testing.T) {
	account := func(namespace, name string, labels map[string]string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount"}}
		u.SetNamespace(namespace)
		u.SetName(name)
		u.SetLabels(labels)
		return u
	}
	for _, c := range []struct {
		account *unstructured.Unstructured
		want    Reason
	}{
		{account("kube-system", "deployment-controller", nil), ServerMade},
		{account("kube-system", "generic-garbage-collector", nil), ServerMade},
		{account("kube-system", "snapshot-controller", nil), ""},
		{account("shop", "deployment-controller", nil), ""},
		{account("kube-system", "deployment-controller", map[string]string{"app": "x"}), ""},
		{account("shop", "default", nil), ServerMade},
	} {
		if got := LeaveOut(c.account); got != c.want {
			t.Errorf("%s/%s %v: %q, want %q", c.account.GetNamespace(), c.account.GetName(), c.account.GetLabels(), got, c.want)
		}
	}
}

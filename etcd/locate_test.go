// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import "testing"

func TestNamesFile(t *testing.T) {
	for flag, want := range map[string]bool{
		"etcd-cafile": true, "tls-private-key-file": true, "encryption-provider-config": true, "kubeconfig": true, "kubelet-client-certificate": true,
		"kubelet-client-key": true, "audit-policy-file": true, "audit-log-path": false, "data-dir": false, "advertise-address": false,
	} {
		if NamesFile(flag) != want {
			t.Errorf("%s: %t", flag, !want)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import "testing"

func TestServerName(t *testing.T) {
	for server, want := range map[string]string{
		"https://10.0.0.1:6443":                     "https://10.0.0.1:6443",
		"https://[fd00::1]:6443/k8s/clusters/c-1":   "https://[fd00::1]:6443/k8s/clusters/c-1",
		"https://adm:secret@10.0.0.1:6443":          "https://10.0.0.1:6443",
		"https://secret@rancher.example/k8s/c?a=b":  "https://rancher.example/k8s/c",
		"https://rancher.example/k8s?token=secret":  "https://rancher.example/k8s",
		"https://rancher.example/k8s#secret":        "https://rancher.example/k8s",
		"adm:secret@10.0.0.1:6443":                  "10.0.0.1:6443",
		"adm:se@cret@10.0.0.1:6443/x?y=secret":      "10.0.0.1:6443/x",
		"https://adm:se%zzcret@10.0.0.1:6443?s#e":   "10.0.0.1:6443",
		"10.0.0.1:6443":                             "10.0.0.1:6443",
		"localhost":                                 "localhost",
		"localhost?token=secret":                    "localhost",
		"https://rancher.example/se%zz?token=secre": "https://rancher.example/se%zz",
		"": "",
	} {
		if got := ServerName(server); got != want {
			t.Errorf("%q: got %q, want %q", server, got, want)
		}
	}
}

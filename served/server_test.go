// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package served

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
)

// TestServerOf: it tells clusters apart that share an address, or an authority, and is the same however that is given.
func TestServerOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("ca"), 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(host, name string, ca rest.TLSClientConfig) string {
		ca.ServerName = name
		sum, err := serverOf(&rest.Config{Host: host, TLSClientConfig: ca, BearerToken: file})
		if err != nil || sum == "" {
			t.Fatalf("%q, %v", sum, err)
		}
		return sum
	}
	ca, other := rest.TLSClientConfig{CAData: []byte("ca")}, rest.TLSClientConfig{CAData: []byte("other")}
	one := of("https://gate/a", "", ca)
	if same := of("https://gate/a", "", rest.TLSClientConfig{CAFile: file}); same != one {
		t.Errorf("a file with the same authority gives %s, want %s", same, one)
	}
	for what, sum := range map[string]string{
		"address": of("https://gate/b", "", ca), "authority": of("https://gate/a", "", other), "name": of("https://gate/a", "b", ca),
	} {
		if sum == one {
			t.Errorf("another %s gives the same", what)
		}
	}
	if _, err := serverOf(&rest.Config{Host: "https://gate", TLSClientConfig: rest.TLSClientConfig{CAFile: file + "x"}}); err == nil {
		t.Error("an authority that is not there is no error")
	}
}

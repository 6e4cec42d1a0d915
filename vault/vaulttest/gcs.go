// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vaulttest

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// StartGCS starts a server that speaks as Google Cloud Storage does, with an empty bucket in it, and returns
// its name. It ends with the test. The environment says where it is, so the test must not be parallel.
func StartGCS(t *testing.T) string {
	t.Helper()
	program := program(t, "fake-gcs-server", "gcs", "github.com/fsouza/fake-gcs-server")
	address := free(t)
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	serve(t, address, nil, program, "-scheme", "http", "-host", host, "-port", port, "-backend", "memory",
		"-public-host", address, "-external-url", "http://"+address, "-log-level", "error")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/storage/v1/b?project=p", strings.NewReader(`{"name":"`+bucket+`"}`))
	must(t, err)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("make a bucket: %s", answer.Status)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	return bucket
}

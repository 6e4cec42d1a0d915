// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testStore(t *testing.T) (server *httptest.Server, hidden string) {
	t.Helper()
	content, hidden := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"images.json":     `{"coredns/coredns:v1": "sha256:aa"}`,
		"blobs/sha256:aa": `{"schemaVersion": 2}`,
		"apt/v1.36/amd64/kubelet_1.36.3-1.1_amd64.deb":       "the kubelet",
		"apt/v1.36/amd64/kubelet_1.36.3-1.1_amd64.paragraph": "Package: kubelet\n",
		"apt/v1.36/amd64/kubeadm_1.36.3-1.1_amd64.paragraph": "Package: kubeadm\n",
	} {
		path := filepath.Join(content, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newStore(content, hidden)
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server, hidden
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}

func TestRepository(t *testing.T) {
	server, hidden := testStore(t)
	deb := server.URL + "/core:/stable:/v1.36/deb/"
	const both, one = "Package: kubeadm\n\nPackage: kubelet\n\n", "Package: kubeadm\n\n"

	_, index, _ := get(t, deb+"Packages")
	if index != both {
		t.Errorf("the index is %q, want %q", index, both)
	}
	_, release, _ := get(t, deb+"Release")
	if want := fmt.Sprintf(" %x %d Packages\n", sha256.Sum256([]byte(both)), len(both)); !strings.HasSuffix(release, want) {
		t.Errorf("the release is %q, want it to end with %q", release, want)
	}
	if !strings.Contains(release, "\nDate: ") {
		t.Errorf("the release is %q, without a date, for which apt warns", release)
	}
	if _, body, _ := get(t, deb+"amd64/kubelet_1.36.3-1.1_amd64.deb"); body != "the kubelet" {
		t.Errorf("the package is %q", body)
	}
	for _, path := range []string{"../../../images.json", "amd64/kubelet_1.36.3-1.1_amd64.paragraph", "InRelease"} {
		if status, body, _ := get(t, deb+path); status != http.StatusNotFound {
			t.Errorf("%s: %d %q, want 404", path, status, body)
		}
	}
	if status, _, _ := get(t, server.URL+"/core:/stable:/v1.99/deb/Packages"); status != http.StatusNotFound {
		t.Errorf("a repository that does not exist: %d, want 404", status)
	}

	if err := os.WriteFile(filepath.Join(hidden, "127.0.0.1"), []byte("kubelet_1.36.3-1.1_amd64.deb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, index, _ := get(t, deb+"Packages"); index != one {
		t.Errorf("with the kubelet hidden the index is %q, want %q", index, one)
	}
	if status, _, _ := get(t, deb+"amd64/kubelet_1.36.3-1.1_amd64.deb"); status != http.StatusNotFound {
		t.Errorf("a hidden package: %d, want 404", status)
	}
}

func TestRegistry(t *testing.T) {
	server, _ := testStore(t)
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/coredns/coredns/manifests/v1": 200, "/v2/coredns/coredns/manifests/sha256:aa": 200, "/v2/coredns/coredns/blobs/sha256:aa": 200,
		"/v2/coredns/coredns/manifests/v2": 404, "/v2/coredns/coredns/blobs/sha256:bb": 404, "/v2/coredns/coredns/tags/list": 404,
	} {
		status, _, header := get(t, server.URL+path)
		if status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
		if strings.HasSuffix(path, "/v1") && (header.Get("Docker-Content-Digest") != "sha256:aa" || !strings.HasSuffix(header.Get("Content-Type"), "manifest.v1+json")) {
			t.Errorf("%s: %v", path, header)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestUnreachable: only a cluster at which no connection comes about is gone; an API server that is unwell, or another
// one, is somebody.
func TestUnreachable(t *testing.T) {
	says := func(code int) *httptest.Server {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(s.Close)
		return s
	}
	closing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing.Close() })
	go func() {
		for {
			c, err := closing.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	trusting := rest.TLSClientConfig{Insecure: true}
	for name, c := range map[string]struct {
		host string
		tls  rest.TLSClientConfig
		gone bool
	}{
		"503":               {says(http.StatusServiceUnavailable).URL, trusting, false},
		"500":               {says(http.StatusInternalServerError).URL, trusting, false},
		"504":               {says(http.StatusGatewayTimeout).URL, trusting, false},
		"another authority": {says(http.StatusOK).URL, rest.TLSClientConfig{}, false},
		"no listener":       {"https://127.0.0.1:1", trusting, true},
		"no name":           {"https://nowhere.invalid:6443", trusting, true},
		"a balancer alone":  {"https://" + closing.Addr().String(), trusting, true},
	} {
		client, err := kubernetes.NewForConfig(&rest.Config{Host: c.host, TLSClientConfig: c.tls})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if got := unreachable(t.Context(), c.host, err); got != c.gone {
			t.Errorf("%s: unreachable is %t: %v", name, got, err)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// watchLag is how much later than what they list the kubelets of
// TestKubeletsStartAgain see what changes: longer than they take to start.
const watchLag = time.Second

// TestKubeletsStartAgain kills the simulated kubelets and deletes pods before
// the next ones start, which see changes late: they end all of the pods. (When
// kwok took part in who holds a node's lease, it looked at the pods of a node
// once, and skipped them if it had not yet seen its own lease. The order in
// which it starts its parts is random, hence the rounds.)
func TestKubeletsStartAgain(t *testing.T) {
	ctx := testContext(t)
	tw := twintest.Start(t, twin.Options{Nodes: 2, Scenario: "testdata/web.yaml", Wait: true})
	client := twintest.Client(t, tw)
	lagging(t, filepath.Join(tw.Dir(), "kwok.kubeconfig"))
	for round := range 5 {
		kubelets := status(t, ctx, tw).Parts[4]
		if err := syscall.Kill(kubelets.PID, syscall.SIGKILL); err != nil || kubelets.Name != "kwok" {
			t.Fatalf("kill %s: %v", kubelets.Name, err)
		}
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.CoreV1().Pods("default").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		gone := map[types.UID]bool{}
		for _, p := range pods.Items {
			gone[p.UID] = true
		}
		eventually(t, ctx, "the deleted pods are gone, others are ready", func() bool {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ready := 0
			for i := range pods.Items {
				if !gone[pods.Items[i].UID] && podReady(&pods.Items[i]) {
					ready++
				}
			}
			return ready == 3 && len(pods.Items) == 3
		})
		t.Logf("round %d: done", round+1)
	}
}

// lagging puts a proxy between the API server and the client of a kubeconfig,
// through which watches begin late.
func lagging(t *testing.T, kubeconfig string) {
	t.Helper()
	direct, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(direct)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(direct.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport:     transport,
		FlushInterval: -1, // events are passed on as they come
	}
	lag := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			select {
			case <-time.After(watchLag):
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { lag.CloseClientConnections(); lag.Close() })
	cfg, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cfg.Clusters {
		c.Server, c.CertificateAuthorityData = lag.URL, nil
	}
	if err := clientcmd.WriteToFile(*cfg, kubeconfig); err != nil {
		t.Fatal(err)
	}
}

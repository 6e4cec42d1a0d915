// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// auditEvent is what the tests need of audit.k8s.io/v1 Event.
type auditEvent struct {
	AuditID   string
	Level     string
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ Resource, Subresource, Namespace, Name string }
	// ResponseStatus is empty in the first of several lines of a watch.
	ResponseStatus struct{ Code int }
	ResponseObject json.RawMessage
}

func auditEvents(t *testing.T, tw *twin.Twin) []auditEvent {
	t.Helper()
	data, err := os.ReadFile(tw.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	var out []auditEvent
	for lines := bufio.NewReader(bytes.NewReader(data)); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil { // the end; a line without an end is being written
			return out
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("audit log: %v in %s", err, line)
		}
		out = append(out, e)
	}
}

func TestAccess(t *testing.T) {
	ctx := testContext(t)
	tw := twintest.Start(t, twin.Options{Nodes: 1, Scenario: "testdata/web.yaml", Wait: true})
	admin := twintest.Client(t, tw)
	cfg, err := tw.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}

	t.Run("nobody", func(t *testing.T) {
		get := func(url string, clientTLS *tls.Config) (int, error) {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS, DisableKeepAlives: true}}
			resp, err := client.Get(url)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, nil
		}
		cas := x509.NewCertPool()
		cas.AppendCertsFromPEM(cfg.CAData)
		for _, path := range []string{"/api/v1/nodes", "/version", "/healthz", "/metrics"} {
			if code, err := get(cfg.Host+path, &tls.Config{RootCAs: cas}); err != nil || code != http.StatusUnauthorized {
				t.Errorf("GET %s without a certificate = %d, %v; want 401", path, code, err)
			}
		}
		if code, err := get(cfg.Host+"/version", &tls.Config{}); err == nil {
			t.Errorf("the server's certificate verifies without the twin's CA (%d)", code)
		}
		if code, err := get(strings.Replace(cfg.Host, "https:", "http:", 1), nil); err == nil && code != http.StatusBadRequest {
			t.Errorf("GET without TLS = %d", code)
		}
	})

	t.Run("etcd", func(t *testing.T) {
		etcd := etcdAddress(t, tw)
		ca, err := os.ReadFile(filepath.Join(tw.Dir(), "pki", "etcd-ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		cas := x509.NewCertPool()
		cas.AppendCertsFromPEM(ca)
		adminCert, err := tls.X509KeyPair(cfg.CertData, cfg.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		for name, certs := range map[string][]tls.Certificate{"no certificate": nil, "the admin's certificate": {adminCert}} {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cas, Certificates: certs}, DisableKeepAlives: true}}
			resp, err := client.Get("https://" + etcd + "/health")
			if err == nil {
				resp.Body.Close()
				t.Errorf("etcd answers a client with %s: %s", name, resp.Status)
			}
		}
	})

	t.Run("maintainer", func(t *testing.T) {
		cfg, err := clientcmd.BuildConfigFromFlags("", tw.MaintainerKubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		victim := pods.Items[0]
		err = client.CoreV1().Pods("default").EvictV1(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: victim.Name, Namespace: victim.Namespace},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(victim.UID))},
		})
		if err != nil {
			t.Errorf("evict: %v", err)
		}
		_, err = client.CoreV1().Nodes().Patch(ctx, "node-01", "application/merge-patch+json", []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{})
		if err != nil {
			t.Errorf("cordon: %v", err)
		}
		forbidden := map[string]error{}
		_, forbidden["list secrets"] = client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
		forbidden["delete a pod"] = client.CoreV1().Pods("default").Delete(ctx, victim.Name, metav1.DeleteOptions{})
		_, forbidden["read a lease"] = client.CoordinationV1().Leases("kube-system").Get(ctx, "other", metav1.GetOptions{})
		forbidden["delete a node"] = client.CoreV1().Nodes().Delete(ctx, "node-01", metav1.DeleteOptions{})
		_, forbidden["create a pod"] = client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
		for what, err := range forbidden {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s = %v, want forbidden", what, err)
			}
		}

		audited := false
		for _, e := range auditEvents(t, tw) {
			if e.ObjectRef.Subresource == "eviction" && e.User.Username == "refit-twin:maintainer" {
				audited = e.Level == "RequestResponse" && e.ObjectRef.Name == victim.Name && len(e.ResponseObject) > 0
			}
			if e.ObjectRef.Resource == "leases" && strings.HasPrefix(e.User.Username, "system:") {
				t.Errorf("noise in the audit log: %+v", e)
			}
		}
		if !audited {
			t.Error("the eviction is not in the audit log, with its response")
		}
	})

	t.Run("priority and fairness", func(t *testing.T) {
		// The admin is subject to it, unlike system:masters.
		schema := ""
		err := admin.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes").Do(ctx).Error()
		if err != nil {
			t.Fatal(err)
		}
		review := twintest.Config(t, tw)
		review.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := rt.RoundTrip(r)
				if err == nil {
					schema = resp.Header.Get("X-Kubernetes-Pf-Flowschema-Uid")
				}
				return resp, err
			})
		})
		client, err := kubernetes.NewForConfig(review)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		exempt, err := admin.FlowcontrolV1().FlowSchemas().Get(ctx, "exempt", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if schema == "" || schema == string(exempt.UID) {
			t.Errorf("the admin's flow schema is %q; the exempt one is %q", schema, exempt.UID)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// etcdAddress returns where the twin's etcd listens.
func etcdAddress(t *testing.T, tw *twin.Twin) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tw.Dir(), "twin.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cfg struct {
		Children []struct{ Name, ReadyURL string }
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSuffix(strings.TrimPrefix(cfg.Children[0].ReadyURL, "https://"), "/health")
	if cfg.Children[0].Name != "etcd" || address == "" {
		t.Fatalf("no etcd in %s", data)
	}
	return address
}

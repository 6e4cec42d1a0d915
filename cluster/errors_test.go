// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"refit.dev/refit/internal/hint"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := a.sign(t, template)
	a.key = key
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a key and a certificate for it, self-signed while a has none.
func (a *authority) sign(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// issue returns a certificate for name that ends at notAfter.
func (a *authority) issue(t *testing.T, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-24 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func startTLS(t *testing.T, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(&apiServer{})
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func keyPEM(t *testing.T, c tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TestRefusalsAreExplained lets Read and Watch meet everything that keeps a
// client out. Both must say so and what to do, and neither may hang.
func TestRefusalsAreExplained(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	valid, expired := time.Now().Add(24*time.Hour), time.Now().Add(-time.Hour)
	mutual := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "api", valid)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool()}
	cert, key := keyPEM(t, ca.issue(t, "admin", expired))
	api := func(code int32, reason metav1.StatusReason) string {
		s, _ := startAPI(t, func(string, url.Values) (int, any) { return refused(code, reason, string(reason)) })
		return s.URL
	}
	for name, tc := range map[string]struct {
		config *rest.Config
		hint   string
	}{
		"nobody listens":        {&rest.Config{Host: "http://127.0.0.1:1"}, "cannot be reached"},
		"no such name":          {&rest.Config{Host: "https://api.invalid:6443"}, "cannot be resolved"},
		"unauthorized":          {&rest.Config{Host: api(401, metav1.StatusReasonUnauthorized)}, "does not know these credentials"},
		"unavailable":           {&rest.Config{Host: api(503, metav1.StatusReasonServiceUnavailable)}, "cannot be reached"},
		"expired server":        {&rest.Config{Host: startTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "api", expired)}}), TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem()}}, "renew it (kubeadm: `kubeadm certs renew apiserver`)"},
		"another's server":      {&rest.Config{Host: startTLS(t, &tls.Config{Certificates: []tls.Certificate{other.issue(t, "api", valid)}}), TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem()}}, "not signed by the authority"},
		"other server name":     {&rest.Config{Host: startTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "api", valid)}}), TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem(), ServerName: "elsewhere"}}, "for other names"},
		"expired client":        {&rest.Config{Host: startTLS(t, mutual), TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem(), CertData: cert, KeyData: key}}, "client certificate of this kubeconfig context has expired"},
		"server that is silent": {&rest.Config{Host: silent(t), Timeout: time.Second}, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientFor(t, tc.config)
			for what, call := range map[string]func(context.Context, kubernetes.Interface) error{
				"read":  func(ctx context.Context, c kubernetes.Interface) error { _, err := Read(ctx, c); return err },
				"watch": func(ctx context.Context, c kubernetes.Interface) error { _, err := Watch(ctx, c); return err },
			} {
				err := call(t.Context(), client)
				if err == nil || !strings.Contains(err.Error(), "read the version of the API server: ") {
					t.Errorf("%s: error %v", what, err)
				}
				if got := hint.Of(err); !strings.Contains(got, tc.hint) {
					t.Errorf("%s: error %v, hint %q, want %q in it", what, err, got, tc.hint)
				}
			}
		})
	}
}

// silent is the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

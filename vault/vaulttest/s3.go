// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vaulttest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const (
	bucket = "backups"
	region = "us-east-1"
	access = "refit-test"
	secret = "refit-test-secret"
)

// S3 is a server with a bucket, behind a proxy that can be told to misbehave.
type S3 struct {
	// Dir is where the server keeps the bucket's objects, as files.
	Dir   string
	proxy *httptest.Server
	lock  sync.Mutex
	fault Fault
}

// Fault is asked about each request that is on its way to the server, with the key it is about ("" for one about the
// bucket). It answers itself and returns true, or leaves it to the server.
type Fault func(w http.ResponseWriter, r *http.Request, key string) bool

// StartS3 starts a server. It ends with the test. The environment gets the credentials, so
// the test must not be parallel.
func StartS3(t *testing.T) *S3 {
	t.Helper()
	program := program(t, "versitygw", "gateway", "github.com/versity/versitygw/cmd/versitygw")
	base := t.TempDir()
	s := &S3{Dir: filepath.Join(base, "data", bucket)}
	for _, dir := range []string{s.Dir, filepath.Join(base, "meta")} {
		must(t, os.MkdirAll(dir, 0o700))
	}
	address := free(t)
	serve(t, address, []string{"ROOT_ACCESS_KEY=" + access, "ROOT_SECRET_KEY=" + secret},
		program, "--port", address, "--quiet", "posix", "--sidecar", filepath.Join(base, "meta"), filepath.Join(base, "data"))
	to := &url.URL{Scheme: "http", Host: address}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	s.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.lock.Lock()
		fault := s.fault
		s.lock.Unlock()
		key := ""
		if len(r.URL.Path) > len(bucket)+2 {
			key = r.URL.Path[len(bucket)+2:]
		}
		if fault == nil || !fault(w, r, key) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.proxy.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	return s
}

// URL is that of a store in the bucket, under a prefix.
func (s *S3) URL(prefix string) string {
	q := url.Values{"endpoint": {s.proxy.URL}, "region": {region}, "use_path_style": {"true"}}
	return (&url.URL{Scheme: "s3", Host: bucket, Path: prefix, RawQuery: q.Encode()}).String()
}

// Break has the server misbehave from now on; nil mends it.
func (s *S3) Break(f Fault) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.fault = f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

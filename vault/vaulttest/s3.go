// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vaulttest gives tests a real S3 server of their own, versitygw, and ways to break
// what goes to it.
//
// The server runs as a process: it changes its working directory, and there can be one in a
// process only. Its module is ./gateway; bin/versitygw is built from it if it is not there.
package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bucket = "backups"
	region = "us-east-1"
	access = "refit-test"
	secret = "refit-test-secret"
	// deadline guards against a hang.
	deadline = 10 * time.Minute
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
	program := gateway(t)
	base := t.TempDir()
	s := &S3{Dir: filepath.Join(base, "data", bucket)}
	for _, dir := range []string{s.Dir, filepath.Join(base, "meta")} {
		must(t, os.MkdirAll(dir, 0o700))
	}
	address := free(t)
	cmd := exec.Command(program, "--port", address, "--quiet", "posix", "--sidecar", filepath.Join(base, "meta"), filepath.Join(base, "data")) //nolint:noctx // it is ended below
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+access, "ROOT_SECRET_KEY="+secret)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, address)
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

// gateway is the program, built if it is not there or of another version.
func gateway(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	bin := filepath.Join(root, "bin")
	must(t, os.MkdirAll(bin, 0o755))
	// The tests of several packages run at once.
	lock, err := os.OpenFile(filepath.Join(bin, ".versitygw.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	program := filepath.Join(bin, "versitygw")
	module := filepath.Join(filepath.Dir(here), "gateway")
	if newer(program, filepath.Join(module, "go.mod")) {
		return program
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the S3 server: %v\n%s", err, out)
	}
	return program
}

func newer(file, than string) bool {
	a, err := os.Stat(file)
	b, err2 := os.Stat(than)
	return errors.Join(err, err2) == nil && !a.ModTime().Before(b.ModTime())
}

// await waits until something listens.
func await(t testing.TB, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("the S3 server does not start: %w", err))
		}
	}
}

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

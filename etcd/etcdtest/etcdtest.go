// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdtest gives tests an etcd of their own, and the worker that reads its files.
package etcdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
)

// deadline guards against a hang.
const deadline = 2 * time.Minute

// WorkerEnv makes a test's program a worker.
const WorkerEnv = "REFIT_TEST_ETCD_WORKER"

// Main runs the tests of a package that has workers: TestMain hands it m.Run, or what
// stands around that. As a worker it does what a worker does instead.
func Main(run func() int) int {
	if os.Getenv(WorkerEnv) == "" {
		return run()
	}
	if err := etcd.Work(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Worker is one whose processes are the test's own program, see Main.
func Worker(t testing.TB) etcd.Worker {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return etcd.Worker{Argv: []string{"/usr/bin/env", WorkerEnv + "=1", self}}
}

// Etcd is a member that runs in the test's process.
type Etcd struct {
	*embed.Etcd
	// Endpoint is its client URL, Peer that for other members.
	Endpoint, Peer string
	Client         *clientv3.Client
}

// Start starts a cluster of one on loopback ports, in a directory of the test. It ends
// with the test. What change does with its configuration counts.
func Start(t testing.TB, change ...func(*embed.Config)) *Etcd {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "etcd-test", t.TempDir()
	cfg.Logger, cfg.ZapLoggerBuilder = "zap", embed.NewZapLoggerBuilder(zap.NewNop())
	client, peer := loopback(t), loopback(t)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.UnsafeNoFsync = true
	for _, c := range change {
		c(cfg)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatal(err)
	case <-ctx.Done():
		t.Fatal("etcd does not start")
	}
	c := clientv3.Config{Endpoints: []string{cfg.AdvertiseClientUrls[0].String()}, Logger: zap.NewNop()}
	if !cfg.ClientTLSInfo.Empty() {
		info := cfg.ClientTLSInfo
		if c.TLS, err = info.ClientConfig(); err != nil {
			t.Fatal(err)
		}
	}
	own, err := clientv3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() }) // its context has ended by then
	return &Etcd{Etcd: e, Endpoint: cfg.AdvertiseClientUrls[0].String(), Peer: cfg.AdvertisePeerUrls[0].String(), Client: own}
}

// WithTLS makes a member ask its clients for a certificate, and returns the directory with
// the files cert.pem and key.pem: one pair, for both sides, which is its own authority.
func WithTLS(t testing.TB) (dir string, change func(*embed.Config)) {
	t.Helper()
	dir = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	now := clock.RealClock{}.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	info := transport.TLSInfo{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), TrustedCAFile: filepath.Join(dir, "cert.pem"), ClientCertAuth: true}
	must(t, os.WriteFile(info.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	must(t, os.WriteFile(info.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return dir, func(c *embed.Config) {
		c.ClientTLSInfo = info
		for _, urls := range [][]url.URL{c.ListenClientUrls, c.AdvertiseClientUrls} {
			for i := range urls {
				urls[i].Scheme = "https"
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Access is how the member is reached.
func (e *Etcd) Access() etcd.Access {
	return etcd.Access{Endpoints: []string{e.Endpoint}, Patience: deadline}
}

// loopback is a URL with a port that is free.
func loopback(t testing.TB) url.URL {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

// Loopback is the URL of a port that is free now.
func Loopback(t testing.TB) string {
	u := loopback(t)
	return u.String()
}

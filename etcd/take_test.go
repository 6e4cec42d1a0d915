// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/host"
)

// here is a control plane whose connections are made from this machine.
type here struct{ controlPlane }

func (here) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

func sourceOf(name string, files map[string]string, err error) etcd.Source {
	return etcd.Source{Name: name, Reach: func() (host.Machine, error) { return here{controlPlane{files: files}}, err }}
}

func TestTake(t *testing.T) {
	e := etcdtest.Start(t)
	put(t, e, "/registry/namespaces/kube-system", stored(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "1234"}}))
	plain := strings.NewReplacer("    - --etcd-cafile=/pki/ca.crt\n", "", "    - --etcd-certfile=/pki/client.crt\n", "", "    - --etcd-keyfile=/pki/client.key\n", "")
	sources := []etcd.Source{
		sourceOf("cp-1", nil, errors.New("the machine is away")),
		sourceOf("cp-2", nil, nil),
		sourceOf("cp-3", map[string]string{etcd.APIServerManifest: plain.Replace(fmt.Sprintf(manifest, e.Endpoint))}, nil),
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	file := filepath.Join(dir, "etcd.db")
	// An earlier process was killed in the middle.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd.db", "etcd.db.new", ".etcd.db.new.refit-1", ".other.db.refit-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taker := etcd.Taker{Worker: etcdtest.Worker(t), Clock: clock.RealClock{}, Patience: 5 * time.Second, Cluster: "1234"}
	taken, err := taker.Take(t.Context(), sources, file)
	if err != nil {
		t.Fatal(err)
	}
	if taken.By != "cp-3" || taken.Saved.File != file || taken.Proof.Keys != 1 || taken.Proof.Status.SHA256 != taken.Saved.SHA256 {
		t.Errorf("%+v", taken)
	}
	want(t, dir, ".other.db.refit-1", "etcd.db")
	if _, err := taker.Worker.Status(t.Context(), file); err != nil {
		t.Errorf("the file: %v", err)
	}

	// What is proven stays until its successor is: of another cluster, without a way, and without a source.
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stays := func(what string) {
		t.Helper()
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the proven snapshot is not what it was (%v)", what, err)
		}
	}
	taker.Cluster = "5678"
	if _, err := taker.Take(t.Context(), sources, file); !errors.Is(err, etcd.ErrUnproven) || !strings.Contains(err.Error(), "of another cluster") {
		t.Errorf("of another cluster: %v", err)
	}
	want(t, dir, ".other.db.refit-1", "etcd.db", "etcd.db.unproven")
	stays("of another cluster")

	_, err = taker.Take(t.Context(), sources[:2], file)
	if err == nil || !strings.Contains(err.Error(), "cp-1: the machine is away") || !strings.Contains(err.Error(), "cp-2: no API server runs there") {
		t.Errorf("without a way: %v", err)
	}
	stays("without a way")
	if _, err = taker.Take(t.Context(), nil, file); err == nil {
		t.Error("without a source: no error")
	}

	// The next that is proven takes its place.
	taker.Cluster = "1234"
	put(t, e, "/registry/namespaces/kube-public", stored(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-public", UID: "4321"}}))
	taken, err = taker.Take(t.Context(), sources, file)
	if err != nil || taken.Saved.File != file || taken.Proof.Keys != 2 {
		t.Fatalf("once more: %+v, %v", taken, err)
	}
	if status, err := taker.Worker.Status(t.Context(), file); err != nil || status.SHA256 != taken.Saved.SHA256 {
		t.Errorf("the file once more: %+v, %v", status, err)
	}
	want(t, dir, ".other.db.refit-1", "etcd.db", "etcd.db.unproven")
}

// want wants these files in a directory, and no others.
func want(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("there are %v, want %v", got, names)
	}
}

// TestTakeLeavesNothing: a snapshot that nobody came to prove does not stay, with every Secret in it, neither after an error nor
// once the run that took it is given up.
func TestTakeLeavesNothing(t *testing.T) {
	e := etcdtest.Start(t)
	put(t, e, "/registry/namespaces/kube-system", stored(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "1234"}}))
	plain := strings.NewReplacer("    - --etcd-cafile=/pki/ca.crt\n", "", "    - --etcd-certfile=/pki/client.crt\n", "", "    - --etcd-keyfile=/pki/client.key\n", "")
	sources := []etcd.Source{sourceOf("cp-1", map[string]string{etcd.APIServerManifest: plain.Replace(fmt.Sprintf(manifest, e.Endpoint))}, nil)}
	dir := t.TempDir()
	file := filepath.Join(dir, "etcd.db")
	taker := etcd.Taker{Worker: etcdtest.Worker(t), Clock: clock.RealClock{}, Patience: 5 * time.Second}
	if _, err := taker.Take(t.Context(), sources, file); err != nil {
		t.Fatal(err)
	}
	// The first worker reads the revision, and the second is to prove it.
	once := filepath.Join(t.TempDir(), "once")
	const script = `if [ -e "$0" ]; then echo '{"error":"no memory"}'; else : >"$0"; exec "$@"; fi`
	taker.Worker.Argv = append([]string{"/bin/sh", "-c", script, once}, taker.Worker.Argv...)
	if _, err := taker.Take(t.Context(), sources, file); err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("%v", err)
	}
	want(t, dir, "etcd.db")

	// What processes leave that were killed, at any moment of it.
	for _, name := range []string{"etcd.db.new", ".etcd.db.new.refit-1", "refit-verify-1/member", "etcd.db.unproven", "other.db.new", ".other.db.new.refit-1"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("all Secrets"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := etcd.Forsake(file); err != nil {
			t.Fatal(err)
		}
		want(t, dir, ".other.db.new.refit-1", "etcd.db", "etcd.db.unproven", "other.db.new")
	}
	if err := etcd.Forsake(filepath.Join(dir, "no", "etcd.db")); err != nil {
		t.Errorf("where no snapshot was ever taken: %v", err)
	}
}

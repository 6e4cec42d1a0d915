// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/etcdtest"
	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
	"refit.dev/refit/host/remote"
)

// controlPlane is a machine with the files of a control plane; all else is the real one's.
type controlPlane struct {
	host.Machine
	files map[string]string
	// unit is what systemd says of kube-apiserver.service; "" if there is none.
	unit string
	// member is that of etcd.service.
	member string
}

func (c controlPlane) Exec(ctx context.Context, argv []string, opts host.ExecOptions) (host.Result, error) {
	switch {
	case argv[0] != "systemctl":
		return c.Machine.Exec(ctx, argv, opts)
	case c.member != "" && argv[len(argv)-1] == "etcd.service":
		return host.Result{Stdout: []byte(c.member)}, nil
	case c.unit == "" || argv[len(argv)-1] != "kube-apiserver.service":
		return host.Result{Stdout: []byte("LoadState=not-found\n")}, nil
	}
	return host.Result{Stdout: []byte(c.unit)}, nil
}

func (c controlPlane) ReadFile(_ context.Context, path string) ([]byte, error) {
	text, ok := c.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// manifest is that of an API server, as kubeadm writes it.
const manifest = `apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --etcd-cafile=/pki/ca.crt
    - --etcd-certfile=/pki/client.crt
    - --etcd-keyfile=/pki/client.key
    - --etcd-servers=%s
    - --secure-port=6443
    image: registry.k8s.io/kube-apiserver:v1.37.2
    name: kube-apiserver
`

// TestSaveOverSSH saves from an etcd that asks for certificates, which are found on a
// machine, through an SSH connection to it.
func TestSaveOverSSH(t *testing.T) {
	dir, withTLS := etcdtest.WithTLS(t)
	e := etcdtest.Start(t, withTLS)
	put(t, e, "a", "b")
	cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	m := controlPlane{Machine: machine(t), files: map[string]string{
		etcd.APIServerManifest: fmt.Sprintf(manifest, e.Endpoint), "/pki/ca.crt": string(cert), "/pki/client.crt": string(cert), "/pki/client.key": string(key),
	}}
	access, err := etcd.Locate(t.Context(), m, e.Access().Patience)
	if err != nil {
		t.Fatal(err)
	}
	if others, err := access.Others(t.Context()); err != nil || len(others) != 0 {
		t.Errorf("other members: %v, %v", others, err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	saved, err := etcd.Saver{Access: access, Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}.Save(t.Context(), file)
	if err != nil || saved.Revision != 2 || saved.Endpoint != e.Endpoint {
		t.Errorf("saved %+v, %v", saved, err)
	}

	access.TLS.Certificates = nil
	if _, err := (etcd.Saver{Access: access, Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}).Save(t.Context(), file+"2"); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	access.TLS = nil
	if _, err := access.Candidates(t.Context()); err != nil {
		t.Error(err)
	} else if _, err := access.Others(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without the authority: %v", err)
	}
}

// machine is this one, over SSH.
func machine(t *testing.T) host.Machine {
	t.Helper()
	sshd := hosttest.StartSSHD(t)
	network, err := remote.New(remote.Options{ConfigFile: sshd.Config, Home: t.TempDir(), User: "nobody", Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { network.Close() })
	target, err := network.Target(remote.Address{Name: "cp-1", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	m := network.Machine(target, nil)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestLocateFails(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no control plane": {nil, "no API server runs there, as a static pod or as a service"},
		"no YAML":          {map[string]string{etcd.APIServerManifest: "\t"}, "kube-apiserver.yaml"},
		"no etcd":          {map[string]string{etcd.APIServerManifest: "spec: {containers: [{command: [x]}]}"}, "has no --etcd-servers"},
		"no certificate":   {map[string]string{etcd.APIServerManifest: fmt.Sprintf(manifest, "https://127.0.0.1:2379")}, "the file of the API server's --etcd-"},
		"bad certificate": {map[string]string{
			etcd.APIServerManifest: fmt.Sprintf(manifest, "https://127.0.0.1:2379"), "/pki/ca.crt": "x", "/pki/client.crt": "x", "/pki/client.key": "x",
		}, "has no certificate"},
	} {
		_, err := etcd.Locate(t.Context(), controlPlane{files: c.files}, 1)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, etcd.ErrNoControlPlane) != (c.files == nil) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestLearner has a learner beside the only voting member: it gives no snapshot.
func TestLearner(t *testing.T) {
	e := etcdtest.Start(t)
	put(t, e, "a", "b")
	learner := etcdtest.Start(t, func(c *embed.Config) {
		if _, err := e.Client.MemberAddAsLearner(t.Context(), []string{c.AdvertisePeerUrls[0].String()}); err != nil {
			t.Fatal(err)
		}
		c.Name, c.ClusterState = "learner", embed.ClusterStateFlagExisting
		c.InitialCluster = "learner=" + c.AdvertisePeerUrls[0].String() + ",etcd-test=" + e.Peer
	})
	access := e.Access()
	others, err := access.Others(t.Context())
	if err != nil || len(others) != 1 {
		t.Fatalf("other members: %v, %v", others, err)
	}
	if u, err := url.Parse(others[0]); err != nil || u.String() != learner.Endpoint {
		t.Errorf("the other member is at %s, not %s", others[0], learner.Endpoint)
	}
	access.Endpoints = append(others, access.Endpoints...)
	saver := etcd.Saver{Access: access, Worker: etcdtest.Worker(t), Clock: clock.RealClock{}}
	saved, err := saver.Save(t.Context(), filepath.Join(t.TempDir(), "s.db"))
	if err != nil || saved.Endpoint != e.Endpoint {
		t.Errorf("saved %+v, %v", saved, err)
	}
	saver.Access.Endpoints = others
	if _, err := saver.Save(t.Context(), filepath.Join(t.TempDir(), "s.db")); err == nil || !strings.Contains(err.Error(), "is a learner") {
		t.Errorf("from a learner: %v", err)
	}
	if to, err := e.Access().StepAside(t.Context()); to != "" || err == nil || !strings.Contains(err.Error(), "is a learner") {
		t.Errorf("a learner is to lead: %q, %v", to, err)
	}
}

// TestLocateByUnit finds etcd where the API server is a service, with flags of an environment file.
func TestLocateByUnit(t *testing.T) {
	const unit = "LoadState=loaded\nActiveState=active\nMainPID=7\n" +
		"ExecStart={ path=/usr/local/bin/kube-apiserver ; argv[]=/usr/local/bin/kube-apiserver --v 2 $ETCD ; ignore_errors=no ; pid=7 }\n" +
		"EnvironmentFiles=/etc/default/kube-apiserver (ignore_errors=no)\n"
	m := controlPlane{unit: unit, files: map[string]string{"/etc/default/kube-apiserver": "ETCD=\"--etcd-servers http://127.0.0.1:2379,http://10.0.0.2:2379\"\n"}}
	access, err := etcd.Locate(t.Context(), m, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"http://127.0.0.1:2379", "http://10.0.0.2:2379"}; !slices.Equal(access.Endpoints, want) {
		t.Errorf("got %q, want %q", access.Endpoints, want)
	}
	_, err = etcd.Locate(t.Context(), controlPlane{unit: unit}, 1)
	if err == nil || !strings.Contains(err.Error(), "has no --etcd-servers") {
		t.Errorf("without the environment file: %v", err)
	}
}

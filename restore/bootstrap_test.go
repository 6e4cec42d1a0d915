// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/run"
)

// blank is a machine that is new, in a directory of this one. It has a name, an address and a kubelet.
type blank struct {
	host.Machine
	root, name, address, kubelet string
	left                         *int // commands until the operator dies
	dial                         func(ctx context.Context, address string) (net.Conn, error)
}

func (b blank) Dial(ctx context.Context, address string) (net.Conn, error) {
	if b.dial == nil {
		return b.Machine.Dial(ctx, address)
	}
	return b.dial(ctx, address)
}

func (b blank) die() error {
	*b.left--
	if *b.left < 0 {
		return errKilled
	}
	return nil
}

func (b blank) Exec(ctx context.Context, argv []string, o host.ExecOptions) (host.Result, error) {
	if err := b.die(); err != nil {
		return host.Result{}, err
	}
	says := func(text string) (host.Result, error) { return host.Result{Stdout: []byte(text)}, nil }
	switch strings.Join(argv, " ") {
	case "uname -n":
		return says(b.name + "\n")
	case "kubelet --version":
		if b.kubelet == "" {
			return host.Result{Code: 127}, nil
		}
		return says("Kubernetes " + b.kubelet + "\n")
	case "cat /proc/net/fib_trie":
		return says("Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- " + b.address + "\n        /32 host LOCAL\n     |-- 10.9.9.0\n        /24 link UNICAST\n")
	case "cat /proc/net/if_inet6":
		return says("")
	}
	argv = slices.Clone(argv)
	for i, a := range argv {
		if strings.HasPrefix(a, "/") && !(argv[0] == "ln" && i == len(argv)-2 && slices.Contains(argv, "--symbolic")) {
			argv[i] = b.root + a
		}
		argv[i] = strings.Replace(argv[i], "=/", "="+b.root+"/", 1)
	}
	r, err := b.Machine.Exec(ctx, argv, o)
	r.Stdout = bytes.ReplaceAll(r.Stdout, []byte(b.root+"/"), []byte("/"))
	return r, err
}

func (b blank) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return b.Machine.ReadFile(ctx, b.root+path)
}

func (b blank) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := b.die(); err != nil {
		return err
	}
	return b.Machine.WriteFile(ctx, b.root+path, data, mode)
}

// firstStart is the control of a blank machine: what has a manifest where a kubelet looks runs, once there is a kubelet.
type firstStart struct {
	*staticPods
	lost *lost
}

func (f *firstStart) start(ctx context.Context, component string) error {
	if !f.lost.kubelet {
		return errors.New("no kubelet runs that would start it")
	}
	if err := f.staticPods.start(ctx, component); err != nil || component != etcdName || f.lost.etcds["cp1"] != nil {
		return err
	}
	there := f.lost.members[0]
	there.DataDir = f.lost.machine.root + there.DataDir
	f.lost.boot(there)
	return nil
}

func (f *firstStart) running(context.Context) (map[string]bool, error) {
	found := map[string]bool{}
	for _, c := range components() {
		_, err := os.Stat(f.lost.machine.root + manifestDir + "/" + c + ".yaml")
		found[c] = err == nil
	}
	return found, nil
}

func (f *firstStart) stopKubelet(context.Context) error {
	f.lost.kubelet = false
	return nil
}

func (f *firstStart) kubeletRuns(context.Context) (bool, error) { return f.lost.kubelet, nil }

func (f *firstStart) resumeKubelet(context.Context) error {
	f.lost.kubelet = true
	return nil
}

func (f *firstStart) startKubelet(context.Context) error {
	f.lost.kubelet = true
	return nil
}

func (f *firstStart) reach(_ context.Context, m run.Member) (etcd.Access, error) {
	return etcd.Access{Endpoints: m.ClientURLs, Patience: patience}, nil
}

// lost is a control plane that is lost, with a set of it and a new machine.
type lost struct {
	*plane
	machine blank
	kubelet bool
	request BootstrapRequest
	ca      *x509.Certificate
}

const address = "10.0.0.7"

func newLost(t *testing.T) *lost {
	t.Helper()
	p := newPlane(t, 1)
	p.put("kept", "1")
	spec := p.spec()
	status, err := p.worker.Status(t.Context(), spec.Restore.File)
	if err != nil {
		t.Fatal(err)
	}
	p.put("lost", "2")
	p.etcds["cp1"].Close()
	delete(p.etcds, "cp1")
	m := &p.members[0]
	m.DataDir = "/var/lib/etcd"
	left := unlimited
	l := &lost{plane: p, kubelet: true, machine: blank{Machine: host.Here(nil), root: t.TempDir(), name: "cp1", address: address, kubelet: "v1.36.3", left: &left}}
	for _, dir := range []string{"/etc/kubernetes/manifests", "/var/lib/kubelet", "/etc/default", "/usr/lib"} {
		if err := os.MkdirAll(l.machine.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ca, caText, caKey := authority(t, time.Hour)
	l.ca = ca
	l.request = BootstrapRequest{
		Request: Request{File: spec.Restore.File, Snapshot: status, Nodes: []string{"cp1"}, Server: "https://" + address + ":6443"},
		Kubelet: "v1.36.3", Keep: filepath.Join(t.TempDir(), "files.json"),
		Files: []File{
			{Path: "/etc/default/kubelet", Mode: 0o644, Data: []byte("KUBELET_EXTRA_ARGS=\n")},
			{Path: "/etc/kubernetes/admin.conf", Mode: 0o600, Data: []byte("admin")},
			{Path: "/etc/kubernetes/kubelet.conf", Mode: 0o600, Data: []byte("users:\n- name: x\n  user: {client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem, client-key: /var/lib/kubelet/pki/kubelet-client-current.pem}\n")},
			{Path: "/etc/kubernetes/manifests/etcd.yaml", Mode: 0o600, Data: fmt.Appendf(nil, "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: etcd\n    command: [etcd, --name=cp1, --data-dir=/var/lib/etcd, --initial-advertise-peer-urls=%s, --listen-client-urls=%s]\n    volumeMounts: [{name: d, mountPath: /var/lib/etcd}]\n  volumes: [{name: d, hostPath: {path: /var/lib/etcd}}]\n", m.PeerURLs[0], m.ClientURLs[0])},
			{Path: "/etc/kubernetes/manifests/kube-apiserver.yaml", Mode: 0o600, Data: []byte("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: kube-apiserver\n    command: [kube-apiserver, --advertise-address=" + address + ", --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt, --kubelet-client-key=/certs/ca.key, --audit-log-path=/var/log/a.log, --tls-cert-file=/in/the/image]\n    volumeMounts: [{name: k, mountPath: /etc/kubernetes/pki}, {name: c, mountPath: /certs}]\n  volumes: [{name: k, hostPath: {path: /etc/kubernetes/pki}}, {name: c, hostPath: {path: /etc/kubernetes/pki}}]\n")},
			{Path: "/etc/kubernetes/manifests/kube-controller-manager.yaml", Mode: 0o600, Data: []byte("kind: Pod\n")},
			{Path: "/etc/kubernetes/manifests/kube-scheduler.yaml", Mode: 0o600, Data: []byte("kind: Pod\n")},
			{Path: "/etc/kubernetes/manifests/kube-vip.yaml", Mode: 0o600, Data: []byte("kind: Pod\n")},
			{Path: clusterCA, Mode: 0o644, Data: caText},
			{Path: clusterCAKey, Mode: 0o600, Data: caKey},
			{Path: "/etc/kubernetes/pki/etcd/ca.crt", Mode: 0o644, Data: caText},
			{Path: "/refit/kubeadm-config.yaml", Mode: 0o600, Data: []byte("in the snapshot")},
			{Path: "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", Mode: 0o644, Data: []byte("a package's")},
			{Path: "/var/lib/kubelet/config.yaml", Mode: 0o644, Data: []byte("kubelet")},
		},
	}
	return l
}

// authority makes one that is good for so long, or was.
func authority(t *testing.T, good time.Duration) (*x509.Certificate, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(good),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func (l *lost) operator() *Operator {
	o := l.plane.operator()
	o.Reach = func(*corev1.Node, string) (host.Machine, error) { return l.machine, nil }
	o.parks = nil
	o.controls = func(m host.Machine, _ run.Member) control {
		return &firstStart{staticPods: &staticPods{kubelet: kubelet{files{m}}, manifests: manifestDir, parked: parkDir}, lost: l}
	}
	return o
}

// tree is all that is on the machine: mode and content, by path, and the mode of directories.
func (l *lost) tree() map[string]string {
	l.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(l.machine.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, l.machine.root)
		if rel == "/var/lib/etcd/member" {
			all[rel] = "data"
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[rel] = info.Mode().String()
		if d.IsDir() {
			return nil
		}
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			all[rel] += " " + string(text)
			return err
		}
		to, err := os.Readlink(p)
		all[rel] += " " + to
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// risen fails unless the machine is the control plane that was lost.
func (l *lost) risen(when string) {
	l.t.Helper()
	if got := l.all(l.members[0]); fmt.Sprint(got) != "map[kept:1]" {
		l.t.Errorf("%s: etcd has %v", when, got)
	}
	there := l.tree()
	const link = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	for _, f := range l.request.Files {
		want := fmt.Sprintf("%s %s", f.Mode, f.Data)
		if strings.HasPrefix(f.Path, "/usr/") || strings.HasPrefix(f.Path, "/refit/") {
			want = ""
		}
		if there[f.Path] != want {
			l.t.Errorf("%s: %s is %q, want %q", when, f.Path, there[f.Path], want)
		}
		delete(there, f.Path)
	}
	text, err := os.ReadFile(l.machine.root + strings.TrimPrefix(there[link], "Lrwxrwxrwx "))
	if err != nil {
		l.t.Fatalf("%s: %v", when, err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		l.t.Fatalf("%s: %v", when, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(l.ca)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || pair.Leaf.Subject.String() != "CN=system:node:cp1,O=system:nodes" {
		l.t.Errorf("%s: the kubelet's certificate is for %s, %v", when, pair.Leaf.Subject, err)
	}
	delete(there, strings.TrimPrefix(there[link], "Lrwxrwxrwx "))
	delete(there, link)
	delete(there, "/var/lib/etcd/member")
	maps.DeleteFunc(there, func(_, what string) bool { return strings.HasPrefix(what, "d") })
	if len(there) > 0 || !l.kubelet {
		l.t.Errorf("%s: there is %v besides; the kubelet runs: %t", when, there, l.kubelet)
	}
}

// TestBootstrap makes a new machine the control plane that was lost.
func TestBootstrap(t *testing.T) {
	l := newLost(t)
	before := l.tree()
	p, err := l.operator().PrepareBootstrap(t.Context(), l.request)
	if err != nil {
		t.Fatal(err)
	}
	if there := l.tree(); !maps.Equal(there, before) {
		t.Errorf("to look at it has changed %v", there)
	}
	if info, err := os.Stat(l.request.Keep); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys of the cluster are kept with mode %v, %v", info.Mode(), err)
	}
	o, err := l.operator().Begin(t.Context(), p.Spec)
	if err != nil || o.Result != event.ResultDone {
		t.Fatalf("%+v, %v", o, err)
	}
	l.risen("at once")
}

// TestBootstrapInterrupted dies after any number of commands, and is carried on, or given up: then the machine is as empty
// as it was.
func TestBootstrapInterrupted(t *testing.T) {
	const every = 7 // each takes starts of etcd
	for n := 0; ; n += every {
		l := newLost(t)
		before := l.tree()
		p, err := l.operator().PrepareBootstrap(t.Context(), l.request)
		if err != nil {
			t.Fatal(err)
		}
		when := fmt.Sprintf("after %d commands", n)
		*l.machine.left = n
		o, err := l.operator().Begin(t.Context(), p.Spec)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		*l.machine.left = unlimited
		if o.Result == event.ResultDone {
			l.risen(when)
			t.Logf("%d commands", n)
			return
		}
		if (n/every)%2 == 0 {
			err := l.operator().Abort(t.Context(), p.Spec.Run)
			if _, started := errors.AsType[*StartedError](err); err == nil {
				if there := l.tree(); !maps.Equal(there, before) || !l.kubelet {
					t.Errorf("%s, and given up: there is %v, and was %v; the kubelet runs: %t", when, there, before, l.kubelet)
				}
				continue
			} else if !started {
				t.Fatalf("%s, and given up: %v", when, err)
			}
		}
		if o, err := l.operator().Resume(t.Context(), p.Spec.Run); err != nil || o.Result != event.ResultDone {
			t.Fatalf("%s, and resumed: %+v, %v", when, o, err)
		}
		l.risen(when)
	}
}

// TestBootstrapRefused names what is in the way, and changes nothing.
func TestBootstrapRefused(t *testing.T) {
	l := newLost(t)
	request, machine := l.request, l.machine
	put := func(path, text string) func() {
		return func() {
			if err := errors.Join(os.MkdirAll(filepath.Dir(l.machine.root+path), 0o755), os.WriteFile(l.machine.root+path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(path string, data []byte) func() {
		return func() {
			l.request.Files = slices.Clone(l.request.Files)
			i := slices.IndexFunc(l.request.Files, func(f File) bool { return f.Path == path })
			if l.request.Files[i].Data = data; data == nil {
				l.request.Files = slices.Delete(l.request.Files, i, i+1)
			}
		}
	}
	_, old, _ := authority(t, -time.Hour)
	for name, c := range map[string]struct {
		do   func()
		says string
	}{
		"a manifest":            {put("/etc/kubernetes/manifests/kube-proxy.yaml", "x"), "there is /etc/kubernetes/manifests/kube-proxy.yaml"},
		"data":                  {put("/var/lib/etcd/member/snap/db", "x"), "there is /var/lib/etcd/member"},
		"a component":           {put("/etc/kubernetes/manifests/etcd.yaml", "x"), "it runs etcd"},
		"another key":           {put("/etc/kubernetes/pki/ca.key", "x"), "other files than the set: /etc/kubernetes/pki/ca.key"},
		"another run":           {put("/etc/kubernetes/refit-restore/run", "20260101-000000-aaaa\n"), "run 20260101-000000-aaaa has begun"},
		"another name":          {func() { l.machine.name = "cp2" }, "it is called cp2"},
		"another address":       {func() { l.machine.address = "10.0.0.8" }, "it does not have the address 10.0.0.7"},
		"no kubelet":            {func() { l.machine.kubelet = "" }, "it has no kubelet: install the packages of v1.36.3"},
		"a newer kubelet":       {func() { l.machine.kubelet = "v1.37.2" }, "its kubelet is v1.37.2, and was v1.36.3"},
		"no manifest of etcd":   {change("/etc/kubernetes/manifests/etcd.yaml", nil), "etcd.yaml is not in the set"},
		"no API server":         {change("/etc/kubernetes/manifests/kube-apiserver.yaml", nil), "the manifest of the API server is not in the set"},
		"no authority":          {change(clusterCAKey, nil), "the kubelet needs a new certificate"},
		"no authority of etcd":  {change("/etc/kubernetes/pki/etcd/ca.crt", nil), "kube-apiserver needs /etc/kubernetes/pki/etcd/ca.crt (--etcd-cafile)"},
		"no scheduler":          {change("/etc/kubernetes/manifests/kube-scheduler.yaml", nil), "kube-scheduler.yaml is not in the set"},
		"strangers":             {func() { l.request.Strangers = []string{"/etc/cron.d/x"} }, "files that no control plane needs, and no backup puts there: /etc/cron.d/x"},
		"an old certificate":    {change("/etc/kubernetes/pki/etcd/ca.crt", old), "good no more"},
		"no kubeconfig":         {change(kubeletConfig, nil), "kubelet.conf is not in the set"},
		"a key that is none":    {change(clusterCAKey, []byte("x")), "no private key"},
		"two machines":          {func() { l.request.Nodes = []string{"cp1", "cp2"} }, "a set has the files of one machine"},
		"a path that leads out": {func() { l.request.Files = append(slices.Clone(l.request.Files), File{Path: "/etc/../x"}) }, "no path of a file"},
	} {
		t.Run(name, func(t *testing.T) {
			l.request, l.machine = request, machine
			l.machine.root = t.TempDir()
			if err := os.MkdirAll(l.machine.root+"/var/lib", 0o755); err != nil {
				t.Fatal(err)
			}
			c.do()
			before := l.tree()
			_, err := l.operator().PrepareBootstrap(t.Context(), l.request)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want %q: %v", c.says, err)
			}
			if after := l.tree(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("there is %v, and was %v", after, before)
			}
			if _, err := os.Stat(l.request.Keep); err == nil {
				t.Error("the keys of the cluster are kept for nothing")
			}
		})
	}
}

// TestWhatAMachineMayHave: settings of its own kubelet stay, and what is the same is taken as it is, also when the restore is given up.
func TestWhatAMachineMayHave(t *testing.T) {
	l := newLost(t)
	own := map[string]string{"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--v=2\n", "/etc/kubernetes/admin.conf": "admin"}
	for p, text := range own {
		if err := os.WriteFile(l.machine.root+p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := l.tree()
	l.machine.kubelet = "v1.36.4"
	p, err := l.operator().PrepareBootstrap(t.Context(), l.request)
	if err != nil || !strings.Contains(strings.Join(p.Warnings, "\n"), "/etc/default/kubelet is other") || !strings.Contains(strings.Join(p.Warnings, "\n"), "v1.36.4") {
		t.Fatalf("%+v, %v", p, err)
	}
	*l.machine.left = 40
	if o, err := l.operator().Begin(t.Context(), p.Spec); err != nil || o.Result == event.ResultDone {
		t.Fatalf("it did not die: %+v, %v", o, err)
	}
	*l.machine.left = unlimited
	if err := l.operator().Abort(t.Context(), p.Spec.Run); err != nil {
		t.Fatal(err)
	}
	there := l.tree()
	for p, text := range own {
		if !strings.HasSuffix(there[p], text) {
			t.Errorf("%s is %q", p, there[p])
		}
	}
	if !maps.Equal(there, before) {
		t.Errorf("there is %v, and was %v", there, before)
	}
}

// TestAddresses reads what a kernel says.
func TestAddresses(t *testing.T) {
	const four = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 127.0.0.0/8 2 0 2\n           |-- 127.0.0.1\n              /32 host LOCAL\n" +
		"        |-- 172.17.0.2\n           /32 host LOCAL\n        |-- 172.17.255.255\n           /32 link BROADCAST\nLocal:\n        |-- 172.17.0.2\n           /32 host LOCAL\n"
	const six = "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000042acfffe110002 02 40 20 80     eth0\n20010db8000000000000000000000005 02 40 00 80     eth0\n"
	if got := strings.Join(texts(parseAddresses(four, six)), " "); got != "172.17.0.2 2001:db8::5" {
		t.Errorf("the addresses are %s", got)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/host"
)

// below is a machine whose root is a directory of this one.
type below struct {
	host.Machine
	dir string
}

func (b below) Exec(ctx context.Context, argv []string, o host.ExecOptions) (host.Result, error) {
	argv = slices.Clone(argv)
	for i, a := range argv {
		if strings.HasPrefix(a, "/") {
			argv[i] = b.dir + a
		}
	}
	r, err := b.Machine.Exec(ctx, argv, o)
	r.Stdout = bytes.ReplaceAll(r.Stdout, []byte(" "+b.dir+"/"), []byte(" /"))
	return r, err
}

func (b below) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return b.Machine.ReadFile(ctx, b.dir+path)
}

const manifest = `
apiVersion: v1
kind: Pod
spec:
  containers:
  - name: kube-apiserver
    command: [kube-apiserver, --encryption-provider-config=/inside/enc.yaml, --audit-log-path=/var/log/audit.log, --audit-policy-file=/etc/elsewhere/audit.yaml, --oidc-ca-file=/etc/missing.pem]
    volumeMounts: [{name: enc, mountPath: /inside}, {name: root, mountPath: /}]
  volumes:
  - {name: enc, hostPath: {path: /opt/secrets}}
`

// machine has files of a control plane.
func machine(t *testing.T) below {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"/etc/kubernetes/pki/ca.key": "ca key", "/etc/kubernetes/pki/etcd/ca.key": "etcd ca key", "/etc/kubernetes/admin.conf": "admin",
		"/etc/kubernetes/manifests/kube-apiserver.yaml": manifest, "/etc/kubernetes/tmp/kubeadm-backup-etcd/member/snap/db": "a copy of etcd",
		"/etc/kubernetes/with space and\nnewline": "odd", "/var/lib/kubelet/config.yaml": "kubelet", "/var/lib/kubelet/pki/kubelet.key": "made anew",
		"/opt/secrets/enc.yaml": "kind: EncryptionConfiguration", "/etc/elsewhere/audit.yaml": "audit", "/var/log/audit.log": "a log", "/elsewhere/real.pem": "behind a link",
	} {
		must(t, os.MkdirAll(filepath.Dir(dir+path), 0o755))
		must(t, os.WriteFile(dir+path, []byte(text), 0o640))
	}
	must(t, os.Symlink(dir+"/elsewhere/real.pem", dir+"/etc/kubernetes/pki/linked.pem"))
	must(t, os.Symlink("/nowhere/at/all", dir+"/etc/kubernetes/pki/dangling.pem"))
	return below{host.Here(nil), dir}
}

// TestCollect reads the files with this machine's own find.
func TestCollect(t *testing.T) {
	files, err := Collect(t.Context(), machine(t))
	must(t, err)
	var got []string
	for _, f := range files {
		got = append(got, f.Path+" = "+strings.SplitN(strings.TrimSpace(string(f.Data)), "\n", 2)[0])
	}
	want := []string{
		"/etc/elsewhere/audit.yaml = audit", "/etc/kubernetes/admin.conf = admin", "/etc/kubernetes/manifests/kube-apiserver.yaml = apiVersion: v1",
		"/etc/kubernetes/pki/ca.key = ca key", "/etc/kubernetes/pki/etcd/ca.key = etcd ca key", "/etc/kubernetes/pki/linked.pem = behind a link",
		"/etc/kubernetes/with space and\nnewline = odd", "/opt/secrets/enc.yaml = kind: EncryptionConfiguration", "/var/lib/kubelet/config.yaml = kubelet",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if config := encryptionConfig(files); string(config) != "kind: EncryptionConfiguration" {
		t.Errorf("the configuration of encryption is %q", config)
	}
}

// TestFilesComeBack takes a set with the files of a machine, and fetches it.
func TestFilesComeBack(t *testing.T) {
	b := newBench(t)
	m := machine(t)
	must(t, os.WriteFile(m.dir+"/opt/secrets/enc.yaml", []byte("kind: EncryptionConfiguration\n"), 0o600))
	b.taker.Machine, b.taker.Name = m, "cp1"
	taken := b.take(t)
	to := filepath.Join(t.TempDir(), "fetched")
	_, err := b.reader().Fetch(t.Context(), Latest, to)
	must(t, err)
	if len(taken.Files) != 9 || taken.Source.Machine != "cp1" {
		t.Errorf("the set has %d files of %q", len(taken.Files), taken.Source.Machine)
	}
	for _, f := range taken.Files {
		want, err := os.ReadFile(m.dir + f.Path)
		must(t, err)
		got, err := os.ReadFile(filepath.Join(to, "files", f.Path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", f.Path, got, err)
		}
	}
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, _ error) error {
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %v", path, err)
		}
		return nil
	}))
	if _, err := b.reader().Fetch(t.Context(), Latest, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("fetched over what was there: %v", err)
	}
}

// TestFilesThatLeadElsewhere are refused, packing and unpacking.
func TestFilesThatLeadElsewhere(t *testing.T) {
	for _, path := range []string{"/../etc/passwd", "/a/../b", "relative", "/", "", "//a", "/a/", "/a\x00b"} {
		if err := writeFiles(&bytes.Buffer{}, []File{{Path: path}}, epoch()); err == nil {
			t.Errorf("%q is packed", path)
		}
	}
	for name, archive := range map[string][]byte{
		"a link": tarOf(t, '2', "etc/x", "/etc/passwd"), "a hard link": tarOf(t, '1', "etc/x", "etc/passwd"), "a directory": tarOf(t, '5', "etc/", ""),
		"upwards": tarOf(t, '0', "../../etc/x", ""), "inside": tarOf(t, '0', "etc/../../x", ""), "absolute": tarOf(t, '0', "//etc/x", ""), "no archive": bytes.Repeat([]byte("x"), 1024),
	} {
		if files, err := readFiles(bytes.NewReader(archive)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, files, err)
		}
	}
}

// TestStrangers: what no backup would have gathered is named, and what the flags of any component lead to is not.
func TestStrangers(t *testing.T) {
	m := machine(t)
	must(t, os.WriteFile(m.dir+"/etc/kubernetes/manifests/etcd.yaml", []byte("spec:\n  containers:\n  - command: [etcd, --peer-key-file=/srv/etcd/peer.key, --data-dir=/var/lib/etcd]\n"), 0o600))
	must(t, os.WriteFile(m.dir+"/etc/kubernetes/manifests/kube-controller-manager.yaml", []byte("spec:\n  containers:\n  - command: [kube-controller-manager, --tls-private-key=/srv/cm.key, --cloud-config=/srv/cloud]\n"), 0o600))
	must(t, os.MkdirAll(m.dir+"/srv/etcd", 0o755))
	for _, p := range []string{"/srv/etcd/peer.key", "/srv/cm.key", "/srv/cloud"} {
		must(t, os.WriteFile(m.dir+p, []byte("of a flag"), 0o600))
	}
	files, err := Collect(t.Context(), m)
	must(t, err)
	for _, want := range []string{"/srv/etcd/peer.key", "/srv/cm.key", "/srv/cloud"} {
		if !slices.ContainsFunc(files, func(f File) bool { return f.Path == want }) {
			t.Errorf("%s is not in the set", want)
		}
	}
	files = append(files, File{Path: "/refit/kubeadm-config.yaml"})
	if got := Strangers(files); len(got) > 0 {
		t.Errorf("strangers among what was collected: %q", got)
	}
	for _, p := range []string{"/root/.ssh/authorized_keys", "/etc/cron.d/x", "/etc/kubernetes2/x", "/etc/systemd/system/x.service"} {
		files = append(files, File{Path: p})
	}
	want := []string{"/etc/cron.d/x", "/etc/kubernetes2/x", "/etc/systemd/system/x.service", "/root/.ssh/authorized_keys"}
	if got := Strangers(files); !slices.Equal(got, want) {
		t.Errorf("strangers: %q", got)
	}
}

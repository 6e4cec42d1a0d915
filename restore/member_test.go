// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"refit.dev/refit/run"
)

// What kubeadm writes, with the data directory at another place of the machine than of the pod.
const manifest = `apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec:
  containers:
  - name: etcd
    image: registry.example/etcd:3.6.8-0
    command:
    - etcd
    - --advertise-client-urls=https://10.0.0.1:2379
    - --data-dir=/var/lib/etcd
    - --initial-advertise-peer-urls=https://10.0.0.1:2380
    - --initial-cluster=cp1=https://10.0.0.1:2380
    - --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379
    - --name=cp1
    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
    volumeMounts:
    - {mountPath: /var/lib/etcd, name: etcd-data}
    - {mountPath: /etc/kubernetes/pki/etcd, name: etcd-certs}
  volumes:
  - hostPath:
      path: /etc/kubernetes/pki/etcd
      type: DirectoryOrCreate
    name: etcd-certs
  - hostPath:
      path: /data/etcd
      type: DirectoryOrCreate
    name: etcd-data
`

func TestParseStaticPod(t *testing.T) {
	got, err := parseStaticPod([]byte(manifest))
	want := run.Member{
		Method: run.StaticPods, File: "/etc/kubernetes/manifests/etcd.yaml", Name: "cp1", DataDir: "/data/etcd", CA: "/etc/kubernetes/pki/etcd/ca.crt",
		PeerURLs: []string{"https://10.0.0.1:2380"}, ClientURLs: []string{"https://127.0.0.1:2379", "https://10.0.0.1:2379"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for change, part := range map[string]string{
		"--data-dir=/var/lib/etcd|--data-dir=/srv/etcd":                    "/srv/etcd is on no volume of the machine",
		"--data-dir=/var/lib/etcd|--data-dir=relative":                     "want an absolute path",
		"--name=cp1|--wal-dir=/wal":                                        "write-ahead log in a directory of its own",
		"--name=cp1|--config-file=/etc/etcd.yaml":                          "--config-file",
		"--initial-advertise-peer-urls=https://10.0.0.1:2380|--name2":      "no --initial-advertise-peer-urls",
		"listen-client-urls=https://127.0.0.1:2379|listen-client-urls=127": "is no URL of etcd",
		"kind: Pod|kind: [":                                                "read /etc",
	} {
		from, to, _ := strings.Cut(change, "|")
		if _, err := parseStaticPod([]byte(strings.Replace(manifest, from, to, 1))); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", change, err)
		}
	}
}

func TestParseFlags(t *testing.T) {
	got, err := parseFlags([]string{"/usr/local/bin/etcd", "--name", "m1", "-data-dir=/srv/etcd/", "--listen-client-urls", "http://127.0.0.1:2379"},
		map[string]string{"ETCD_NAME": "other", "ETCD_INITIAL_ADVERTISE_PEER_URLS": "http://10.0.0.1:2380"})
	if err != nil || got.Name != "m1" || got.DataDir != "/srv/etcd" || len(got.PeerURLs) != 1 || got.CA != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRepoint(t *testing.T) {
	changed, err := repointManifest(manifest, "/data/etcd", "/data/etcd-2")
	if err != nil || strings.Count(changed, "path: /data/etcd-2\n") != 1 || strings.Replace(changed, "/data/etcd-2", "/data/etcd", 1) != manifest {
		t.Errorf("%s, %v", changed, err)
	}
	if again, err := repointManifest(changed, "/data/etcd", "/data/etcd-2"); err != nil || again != changed {
		t.Errorf("the second time: %v", err)
	}
	if _, err := repointManifest(strings.ReplaceAll(manifest, "/data/etcd", "/etc/kubernetes/pki/etcd"), "/etc/kubernetes/pki/etcd", "/x"); err == nil {
		t.Error("it stands there twice, and one of them was changed")
	}
	unit := "[Service]\nExecStart=/usr/local/bin/etcd \\\n  --name m1 \\\n  --data-dir=/var/lib/etcd \\\n  --listen-client-urls=http://127.0.0.1:2379\n"
	changed, err = repointUnit(unit, "/var/lib/etcd", "/var/lib/etcd-2")
	if err != nil || strings.Replace(changed, "/var/lib/etcd-2", "/var/lib/etcd", 1) != unit || changed == unit {
		t.Errorf("%s, %v", changed, err)
	}
}

func TestBump(t *testing.T) {
	now := time.Date(2026, time.November, 23, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		live, snapshot int64
		want           uint64
	}{
		{live: 900, snapshot: 500, want: DefaultBump + 400},
		{live: 500, snapshot: 900, want: DefaultBump},
		{live: 2_000_000_400, snapshot: 500, want: DefaultBump + 1_999_999_900},
		{snapshot: 500, want: DefaultBump + 21_755_520_000_000},
	} {
		if got := bump(c.live, c.snapshot, now); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for urls, want := range map[string]string{
		"https://127.0.0.1:2379,https://10.0.0.1:2379": "https://127.0.0.1:2379",
		"https://[::1]:2379,https://[fd00::1]:2379":    "https://[::1]:2379",
		"http://0.0.0.0:2379":                          "http://127.0.0.1:2379",
		"http://[::]:2379":                             "http://[::1]:2379",
		"https://10.0.0.1:2379":                        "https://10.0.0.1:2379",
	} {
		if got := endpoint(run.Member{ClientURLs: strings.Split(urls, ",")}); got != want {
			t.Errorf("%s: %s", urls, got)
		}
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"refit.dev/refit/lab"
)

// wipe makes a machine one that has packages, a container runtime and a network, and nothing of a cluster: as it is when
// it was just installed.
const wipe = `
kubeadm reset --force --ignore-preflight-errors=all >/dev/null 2>&1
systemctl stop kubelet
for task in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks kill -s 9 $task; done
for c in $(ctr -n k8s.io containers ls -q); do ctr -n k8s.io tasks rm -f $c; ctr -n k8s.io containers rm $c; done
rm -rf /etc/kubernetes /var/lib/etcd/* /var/lib/kubelet/pki /var/lib/kubelet/*.yaml /var/lib/kubelet/*.env /var/lib/kubelet/pods /var/lib/kubelet/*_state
ls -A /var/lib/etcd
true`

// bootstraps loses the control plane's machine, and raises it on one that is empty, from a set, with a kill -9 in the middle.
func bootstraps(t *testing.T, l *lab.Lab, o operator) {
	dir := t.TempDir()
	store, key := "file://"+filepath.Join(dir, "store"), filepath.Join(dir, "key")
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	must(t, os.WriteFile(key, []byte(identity.String()+"\n"), 0o600))
	before := belongings(t, l)
	was := inMachine(t, l, "cp1", "read its authority", "sha256sum /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/etcd/ca.crt", nil)
	chapter(t, "a set is saved, with the files of the machine", func(t *testing.T) {
		o.run(t, append([]string{"backup", "save", "--to", store, "--recipient", identity.Recipient().String(), "--verify", "--identity", key}, o.reach()...)...).want(t, 0)
	})
	again := append([]string{"restore", store + "/latest", "--identity", key, "--bootstrap", "--machines", "cp1", "--unsigned", "--yes"}, o.reach()...)
	chapter(t, "nothing is bootstrapped while a cluster is there", func(t *testing.T) {
		o.run(t, again...).want(t, 3, "answers: --bootstrap is for a cluster that is gone")
	})
	chapter(t, "the machine is lost, and a new one has its name", func(t *testing.T) {
		if left := inMachine(t, l, "cp1", "empty it", wipe, nil); left != "" {
			t.Fatalf("of etcd is left %s", left)
		}
		if _, err := tryKubectl(t, l, "get", "nodes"); err == nil {
			t.Fatal("the API server answers")
		}
	})
	chapter(t, "kill -9 while it gets its files", func(t *testing.T) {
		run := o.start(t, again...)
		inMachine(t, l, "cp1", "files come", "until test -e /etc/kubernetes/pki/ca.crt; do sleep 0.02; done", run)
		run.alive(t)
		run.kill()
	})
	chapter(t, "resumed, it finishes", func(t *testing.T) {
		resumed := o.run(t, "runs", "resume")
		resumed.want(t, 0, "etcd is restored to revision")
		t.Log(resumed.err)
	})
	t.Run("it is the same cluster, with all that is in it", func(t *testing.T) {
		if now := belongings(t, l); now != before {
			t.Errorf("it was\n%s\nand is\n%s", before, now)
		}
		if now := inMachine(t, l, "cp1", "read its authority", "sha256sum /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/etcd/ca.crt", nil); now != was {
			t.Errorf("the authorities were\n%s\nand are\n%s", was, now)
		}
	})
	t.Run("the nodes are Ready", func(t *testing.T) {
		eventually(t, "every node is Ready", func() error {
			for name, n := range nodes(t, l) {
				if !ready(n) {
					return errors.New(name + " is not")
				}
			}
			return nil
		})
	})
	t.Run("the pods really run", func(t *testing.T) { wantPodsAnswer(t, l, "shop", "default") })
	t.Run("the cluster goes on: what is new is scheduled and started", func(t *testing.T) {
		kubectl(t, l, "--namespace", "shop", "scale", "deployment", "cart", "--replicas=4")
		kubectl(t, l, "--namespace", "shop", "rollout", "status", "deployment/cart", "--timeout=10m")
		wantPodsAnswer(t, l, "shop")
	})
}

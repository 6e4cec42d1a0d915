// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"refit.dev/refit/lab"
	"refit.dev/refit/vault/vaulttest"
)

// TestRestore loses a part of a cluster and gets it back: from the backup, by two processes.
func TestRestore(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-restore", Workers: 1})
	restores(t, l)
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l, "w1") })
	chapter(t, "the control plane is lost", func(t *testing.T) { bootstraps(t, l, newOperator(t, l)) })
}

// restores saves to S3, deletes, restores with a kill -9 in the middle, and looks whether
// everything is back.
func restores(t *testing.T, l *lab.Lab) {
	store := vaulttest.StartS3(t).URL("lab") // it gives the environment what it takes
	o := newOperator(t, l)
	dir := t.TempDir()
	file, key := filepath.Join(dir, "monday.db"), filepath.Join(dir, "key")
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	must(t, os.WriteFile(key, []byte(identity.String()+"\n"), 0o600))
	kubectl(t, l, "create", "namespace", "shop")
	kubectl(t, l, "--namespace", "shop", "create", "configmap", "prices", "--from-literal=apple=3")
	for _, d := range [][]string{{"shop", "cart"}, {"default", "till"}} {
		kubectl(t, l, "--namespace", d[0], "create", "deployment", d[1], "--image=refit.dev/lab/answer:1", "--replicas=2")
		kubectl(t, l, "--namespace", d[0], "rollout", "status", "deployment/"+d[1], "--timeout=10m")
	}
	before := belongings(t, l)
	chapter(t, "a backup is saved, and proven", func(t *testing.T) {
		o.run(t, append([]string{"backup", "save", file}, o.reach()...)...).want(t, 0)
		o.run(t, "backup", "verify", file).want(t, 0)
		snapshotOf(t, file)
	})
	chapter(t, "another one, with the files of a control plane, to S3", func(t *testing.T) {
		o.run(t, append([]string{"backup", "save", "--to", store, "--recipient", identity.Recipient().String(), "--verify", "--identity", key}, o.reach()...)...).want(t, 0)
		o.run(t, "backup", "list", store).want(t, 0)
	})
	chapter(t, "a namespace and a Deployment are deleted, and something is written", func(t *testing.T) {
		kubectl(t, l, "delete", "namespace", "shop", "--timeout=10m")
		kubectl(t, l, "delete", "deployment", "till")
		kubectl(t, l, "wait", "--for=delete", "pod", "--selector=app=till", "--timeout=10m")
		kubectl(t, l, "create", "configmap", "later")
	})
	server := api(t, l, false, patience)
	chapter(t, "kill -9 in the middle of the restore, while etcd is away", func(t *testing.T) {
		run := o.start(t, append([]string{"restore", latest(store), "--identity", key, "--yes"}, o.reach()...)...)
		inMachine(t, l, "cp1", "etcd is stopped", "while pidof etcd >/dev/null; do sleep 0.05; done", run)
		run.alive(t)
		run.kill()
	})
	chapter(t, "resumed, it finishes", func(t *testing.T) {
		o.run(t, "runs", "resume").want(t, 0, "etcd is restored to revision", "the API server did not answer for")
	})
	server.end()
	t.Logf("asked from outside, the API server did not answer for %s, for %s at once at most",
		server.away.Round(time.Millisecond), server.longest.Round(time.Millisecond))
	t.Run("everything is back, and what was written later is not", func(t *testing.T) {
		if now := belongings(t, l); now != before {
			t.Errorf("it was\n%s\nand is\n%s", before, now)
		}
		if got := kubectl(t, l, "get", "configmap", "later", "--ignore-not-found"); got != "" {
			t.Errorf("there is still %s", got)
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
		wantCordoned(t, l)
		wantNoMarks(t, l)
	})
	t.Run("the pods really run", func(t *testing.T) { wantPodsAnswer(t, l, "shop", "default") })
	t.Run("the cluster goes on: what is new is scheduled and started", func(t *testing.T) {
		kubectl(t, l, "--namespace", "shop", "scale", "deployment", "cart", "--replicas=3")
		kubectl(t, l, "--namespace", "shop", "rollout", "status", "deployment/cart", "--timeout=10m")
		wantPodsAnswer(t, l, "shop")
	})
	t.Run("the old data is still there", func(t *testing.T) {
		for _, m := range l.Nodes() {
			if m.Role != lab.ControlPlane {
				continue
			}
			if got := inMachine(t, l, m.Name, "look for the old data", "ls -d /var/lib/etcd/member.before-*/snap/db | wc -l", nil); got != "1" {
				t.Errorf("%s has %s of them", m.Name, got)
			}
		}
	})
}

// latest is the newest set of a store.
func latest(store string) string {
	path, query, _ := strings.Cut(store, "?")
	return path + "/latest?" + query
}

// chapter is a part of a story without which the rest means nothing.
func chapter(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, f) {
		t.FailNow()
	}
}

// belongings is what was deleted, with the identities of all of it.
func belongings(t *testing.T, l *lab.Lab) string {
	t.Helper()
	const identity = `jsonpath={.kind} {.metadata.name} {.metadata.uid} {.data}{.spec.replicas}`
	return strings.Join([]string{
		kubectl(t, l, "get", "namespace", "shop", "-o", identity),
		kubectl(t, l, "--namespace", "shop", "get", "configmap", "prices", "-o", identity),
		kubectl(t, l, "--namespace", "shop", "get", "deployment", "cart", "-o", identity),
		kubectl(t, l, "get", "deployment", "till", "-o", identity),
	}, "\n")
}

// wantPodsAnswer wants an answer from every pod of namespaces: what a restored cluster says of
// its pods is what it said when it was saved.
func wantPodsAnswer(t *testing.T, l *lab.Lab, namespaces ...string) {
	t.Helper()
	for _, ns := range namespaces {
		eventually(t, "the pods of "+ns+" answer", func() error {
			pods, err := tryKubectl(t, l, "--namespace", ns, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}")
			if err == nil && pods == "" {
				err = errors.New("there are none")
			}
			if err != nil {
				return err
			}
			for name := range strings.FieldsSeq(pods) {
				if _, err := tryKubectl(t, l, "get", "--raw", "/api/v1/namespaces/"+ns+"/pods/"+name+":8080/proxy/"); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	"refit.dev/refit/lab"
)

// stop stops the first process whose command line matches, as soon as there is one, and
// says its number. It goes on with resume.
func stop(pattern string) string {
	return "until pid=$(pgrep -o -f '" + pattern + "') && kill -STOP $pid 2>/dev/null; do sleep 0.02; done; echo $pid"
}

func resume(pid string) string { return "kill -CONT " + pid }

// TestUpgradeThroughFaults is one upgrade in whose course everything happens that must
// not hurt. What is stopped for a moment makes sure that refit is hit in the middle of it.
func TestUpgradeThroughFaults(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-faults"})
	o := newOperator(t, l)
	kubectl(t, l, "cordon", "w2") // somebody else, before
	inMachine(t, l, "w2", "there is no crictl", withoutCRICtl, nil)
	run := o.start(t, o.apply("--ready-timeout", "2m")...)
	again := func() { run = o.start(t, "runs", "resume") }
	chapter(t, "kill -9 while etcd is saved before anything is touched", func(t *testing.T) {
		eventually(t, "refit writes a snapshot", func() error {
			run.alive(t)
			_, err := os.Stat(o.backups())
			return err
		})
		run.kill()
		again()
	})
	chapter(t, "kill -9 in the middle of the installation of a package", func(t *testing.T) {
		dpkg := inMachine(t, l, "cp1", "dpkg unpacks kubeadm", stop("dpkg .*--unpack.*/kubeadm_"), run)
		run.kill()
		inMachine(t, l, "cp1", "dpkg goes on", resume(dpkg), nil)
		again()
	})
	kubeadm := ""
	chapter(t, "kill -9 in the middle of kubeadm upgrade apply", func(t *testing.T) {
		inMachine(t, l, "cp1", "kubeadm changes the API server", "until grep -q kube-apiserver:"+next+
			" /etc/kubernetes/manifests/kube-apiserver.yaml 2>/dev/null; do sleep 0.05; done", run)
		kubeadm = inMachine(t, l, "cp1", "kubeadm waits for it", stop("^kubeadm upgrade apply"), run)
		run.kill()
		again() // while the only API server is away
	})
	chapter(t, "SSH is cut in the middle of kubeadm upgrade apply", func(t *testing.T) {
		inMachine(t, l, "cp1", "refit logs in again", "until ss -Htn state established '( sport = :22 )' | grep -q .; do sleep 0.1; done", run)
		must(t, l.CutSSH(t.Context(), "cp1", lab.Silence))
		inMachine(t, l, "cp1", "kubeadm goes on", resume(kubeadm), run)
		inMachine(t, l, "cp1", "kubeadm ends", "while pidof kubeadm >/dev/null; do sleep 0.5; done", run)
		must(t, l.HealSSH(t.Context(), "cp1"))
		run.alive(t)
	})
	chapter(t, "a worker goes down while its kubelet restarts, and does not come back: nothing new starts", func(t *testing.T) {
		inMachine(t, l, "w1", "the kubelet restarts", `before=$(pidof kubelet)
until now=$(systemctl show -P MainPID kubelet) && [ "$now" != "$before" ] && [ "$now" != 0 ]; do sleep 0.05; done`, run)
		must(t, l.Kill(t.Context(), "w1"))
		run.wait(t).want(t, 4, "w1", "see to it that the machine can be reached", "refit runs resume")
		if v := nodes(t, l)["w2"].Status.NodeInfo.KubeletVersion; v != old {
			t.Errorf("w2 was begun: its kubelet is %s", v)
		}
		if got := inMachine(t, l, "w2", "look at the packages", packages, nil); !strings.Contains(got, "kubelet "+strings.TrimPrefix(old, "v")) {
			t.Errorf("w2 was begun: it has %s", got)
		}
	})
	chapter(t, "the worker is back, and the run is resumed; kill -9 between drain and restart of the kubelet", func(t *testing.T) {
		must(t, l.Start(t.Context(), "w1"))
		again()
		dpkg := inMachine(t, l, "w2", "dpkg unpacks the kubelet", stop("dpkg .*--unpack.*/kubelet_"), run)
		run.kill()
		if !strings.Contains(nodes(t, l)["w1"].Status.NodeInfo.KubeletVersion, next) || nodes(t, l)["w1"].Spec.Unschedulable {
			t.Error("w1 was not finished before w2 was begun")
		}
		inMachine(t, l, "w2", "dpkg goes on", resume(dpkg), nil)
		again()
	})
	chapter(t, "resumed once more, it finishes", func(t *testing.T) {
		run.wait(t).want(t, 0, "3 of 3 nodes upgraded")
	})
	wantUpgraded(t, l, "w2")
	t.Run("etcd was saved before", o.wantOneBackup)
	t.Run("kubeadm upgrade apply ran once", func(t *testing.T) {
		// It makes a copy of etcd's data each time.
		if got := inMachine(t, l, "cp1", "count kubeadm's copies", "ls -d /etc/kubernetes/tmp/kubeadm-backup-etcd-* | wc -l", nil); got != "1" {
			t.Errorf("%s copies of etcd's data", got)
		}
	})
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l, "w1") })
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"refit.dev/refit/lab"
)

// byUnits are the arguments of an upgrade with binaries from a place.
func (o operator) byUnits(source string, more ...string) []string {
	args := append([]string{"upgrade", "apply", "--to", next, "--binaries", source, "--yes"}, o.reach()...)
	return append(args, more...)
}

// TestScratch upgrades a cluster that was put together from binaries and systemd units: what
// does not fit is refused, a broken binary is rolled back, kill -9 hurts nobody; and then it is
// restored into another data directory.
func TestScratch(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-scratch", Flavour: lab.Scratch})
	o := newOperator(t, l)
	chapter(t, "a feature gate that the new kubelet does not know: refused, nothing touched", func(t *testing.T) {
		const config = "/var/lib/kubelet/config.yaml"
		inMachine(t, l, "w1", "set a gate that 1.37 has no more", "cp -a "+config+" "+config+".plain && "+
			"if grep -q ^featureGates: "+config+"; then sed -i 's/^featureGates: {/&SidecarContainers: true, /' "+config+
			"; else echo 'featureGates: {SidecarContainers: true}' >>"+config+"; fi && systemctl restart kubelet", nil)
		before := whatRuns(t, l)
		o.run(t, o.byUnits(l.Releases())...).want(t, 3, "Node w1: kubelet "+next+" does not know the feature gate SidecarContainers", "nothing was changed")
		if now := whatRuns(t, l); now != before {
			t.Errorf("it ran\n%s\nand runs\n%s", before, now)
		}
		inMachine(t, l, "w1", "take it back", "mv "+config+".plain "+config+" && systemctl restart kubelet", nil)
	})
	chapter(t, "a binary without its sum: refused, nothing touched", func(t *testing.T) {
		source := copyReleases(t, l)
		must(t, os.Remove(inRelease(source, "kube-proxy")+".sha256"))
		o.run(t, o.byUnits(source)...).want(t, 3, "the source does not have kube-proxy "+next, "nothing was changed")
	})
	chapter(t, "a kubelet that does not start: rolled back, nothing new starts", func(t *testing.T) {
		source := copyReleases(t, l)
		breakBinary(t, inRelease(source, "kubelet"))
		through := map[string]*asking{"w1": service(t, l, "w1"), "w2": service(t, l, "w2")}
		broken := o.run(t, o.byUnits(source, "--component-timeout", "1m")...)
		broken.show(t, "the API server ", "not well", "restarting ", "uncordon")
		broken.want(t, 1,
			"kubelet "+next+" was not well in time", "was rolled back to the binary of before, which runs and is well", "journalctl -u kubelet.service")
		for name, a := range through {
			a.wantAll(t, "the Service through "+name+" while a kubelet was rolled back")
		}
		want := "cp1 kubelet " + old + "\n"
		if now := whatRuns(t, l); !strings.Contains(now, want) || !strings.Contains(now, "w1 kubelet "+old) || !strings.Contains(now, "w2 kube-proxy "+old) {
			t.Errorf("there runs\n%s", now)
		}
		o.run(t, "runs", "abort").want(t, 0)
		wantCordoned(t, l)
		wantNoMarks(t, l)
	})
	chapter(t, "one command upgrades the rest, through kill -9 while a kubelet restarts", func(t *testing.T) {
		through := map[string]*asking{"w1": service(t, l, "w1"), "w2": service(t, l, "w2")}
		run := o.start(t, o.byUnits(l.Releases())...)
		inMachine(t, l, "w1", "the new kubelet is in its place", "until [ -e /usr/local/bin/kubelet.before-"+next+" ]; do sleep 0.05; done", run)
		run.alive(t)
		run.kill()
		resumed := o.run(t, "runs", "resume")
		resumed.show(t, "the API server ", "did not answer", "restarting ")
		resumed.want(t, 0, "3 of 3 nodes upgraded")
		for name, a := range through {
			a.wantAll(t, "the Service through "+name+" during the upgrade")
		}
	})
	t.Run("every node is Ready at "+next, func(t *testing.T) { wantVersions(t, l, next) })
	t.Run("nothing is cordoned, no mark is left", func(t *testing.T) { wantCordoned(t, l); wantNoMarks(t, l) })
	t.Run("what runs on the machines is the version, and the old binaries are beside it", func(t *testing.T) {
		for _, m := range l.Nodes() {
			wantPrograms(t, l, m)
			wantKept(t, l, m)
		}
	})
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l) })
	t.Run("again, there is nothing to do", func(t *testing.T) {
		o.run(t, o.byUnits(l.Releases())...).want(t, 0, "every node is at "+next+": there is nothing to do")
	})
	restoresElsewhere(t, l, o)
}

// restoresElsewhere saves, deletes, and restores into another data directory: the unit of etcd
// names that afterwards.
func restoresElsewhere(t *testing.T, l *lab.Lab, o operator) {
	file := filepath.Join(t.TempDir(), "monday.db")
	kubectl(t, l, "create", "namespace", "shop")
	kubectl(t, l, "--namespace", "shop", "create", "configmap", "prices", "--from-literal=apple=3")
	chapter(t, "a backup is saved, and proven", func(t *testing.T) {
		o.run(t, append([]string{"backup", "save", file}, o.reach()...)...).want(t, 0)
		o.run(t, "backup", "verify", file).want(t, 0)
	})
	kubectl(t, l, "delete", "namespace", "shop", "--timeout=10m")
	chapter(t, "it is restored into another data directory", func(t *testing.T) {
		o.run(t, append([]string{"restore", file, "--data-dir", "/var/lib/etcd-2", "--yes"}, o.reach()...)...).want(t, 0, "etcd is restored to revision")
	})
	t.Run("what was deleted is there, and the unit names the directory", func(t *testing.T) {
		eventually(t, "the API server answers", func() error { _, err := tryKubectl(t, l, "get", "namespace", "shop"); return err })
		if got := kubectl(t, l, "--namespace", "shop", "get", "configmap", "prices", "-o", "jsonpath={.data.apple}"); got != "3" {
			t.Errorf("prices: %q", got)
		}
		got := inMachine(t, l, "cp1", "look at the unit and the process", "grep -o 'data-dir=[^ ]*' /etc/systemd/system/etcd.service; tr '\\0' '\\n' </proc/$(pidof etcd)/cmdline | grep data-dir", nil)
		if got != "data-dir=/var/lib/etcd-2\n--data-dir=/var/lib/etcd-2" {
			t.Errorf("there stands %q", got)
		}
	})
	t.Run("the nodes are Ready, and the cluster goes on", func(t *testing.T) {
		eventually(t, "every node is Ready", func() error {
			for name, n := range nodes(t, l) {
				if !ready(n) {
					return fmt.Errorf("%s is not", name)
				}
			}
			return nil
		})
		kubectl(t, l, "--namespace", "shop", "create", "deployment", "cart", "--image=refit.dev/lab/answer:1")
		kubectl(t, l, "--namespace", "shop", "rollout", "status", "deployment/cart", "--timeout=10m")
	})
}

// show logs the lines on standard error that have one of the words.
func (s said) show(t *testing.T, words ...string) {
	t.Helper()
	for line := range strings.Lines(s.err) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// whatRuns is what runs on all machines: "NAME COMPONENT VERSION", a line each.
func whatRuns(t *testing.T, l *lab.Lab) string {
	t.Helper()
	var b strings.Builder
	for _, m := range l.Nodes() {
		out := inMachine(t, l, m.Name, "ask what runs", "for p in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do "+
			"pid=$(pidof $p) && echo $p $(/proc/$pid/exe --version) | sed 's/Kubernetes //'; done; true", nil)
		for line := range strings.Lines(out + "\n") {
			b.WriteString(m.Name + " " + line)
		}
	}
	return b.String()
}

// wantKept wants the binary of before beside each of a machine's, and nothing that waits.
func wantKept(t *testing.T, l *lab.Lab, m lab.Machine) {
	t.Helper()
	got := inMachine(t, l, m.Name, "look at the binaries", "cd /usr/local/bin && for f in *.before-"+next+"; do case $f in etcd*) ;; *) ./$f --version;; esac; done | sort -u; "+
		"ls | grep -E '[.](refit|part)$|[a-z][.]"+next+"$'; true", nil)
	if got != "Kubernetes "+old {
		t.Errorf("%s has %q", m.Name, got)
	}
}

// copyReleases is a directory of links to the lab's releases, for binaries to be exchanged in.
func copyReleases(t *testing.T, l *lab.Lab) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir(l.Releases(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(l.Releases(), path)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		return os.Symlink(path, filepath.Join(dir, rel))
	})
	must(t, err)
	return dir
}

func inRelease(source, name string) string {
	return filepath.Join(source, next, "bin", "linux", runtime.GOARCH, name)
}

// breakBinary puts a program into a release that says its version, and does nothing else.
func breakBinary(t *testing.T, path string) {
	t.Helper()
	text := "#!/bin/sh\nfor word; do case $word in --version) echo Kubernetes " + next + "; exit 0;; esac; done\nexit 1\n"
	sum := sha256.Sum256([]byte(text))
	for _, p := range []string{path, path + ".sha256"} {
		must(t, os.Remove(p))
	}
	must(t, os.WriteFile(path, []byte(text), 0o755))
	must(t, os.WriteFile(path+".sha256", []byte(hex.EncodeToString(sum[:])), 0o644))
}

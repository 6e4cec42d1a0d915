// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"refit.dev/refit/lab"
)

// TestLab is about the lab itself: that it is what a real cluster is, and that what
// tests break in it does break.
func TestLab(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-lab"})

	t.Run("the nodes are Ready and nothing is cordoned", func(t *testing.T) {
		wantVersions(t, l, old)
		wantCordoned(t, l)
	})
	t.Run("a Service answers from all workers, and has a name", func(t *testing.T) { wantAnswers(t, l, "w1", "w2") })
	t.Run("bringing it up again changes nothing", func(t *testing.T) { upAgain(t, l) })
	t.Run("SSH works by name and address, with the known host key only", func(t *testing.T) { strictSSH(t, l) })
	t.Run("packages are held, and the other minor is a line away", func(t *testing.T) { repositories(t, l) })
	t.Run("a reboot has another boot id, and the node comes back", func(t *testing.T) { reboot(t, l) })
	t.Run("faults", func(t *testing.T) { faults(t, l) })
}

func upAgain(t *testing.T, l *lab.Lab) {
	before := nodes(t, l)
	again, err := lab.Up(t.Context(), l.Options(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range nodes(t, again) {
		if n.UID != before[name].UID || n.Status.NodeInfo.BootID != before[name].Status.NodeInfo.BootID {
			t.Errorf("%s is another one than before", name)
		}
	}
	other := l.Options()
	other.Workers++
	if _, err := lab.Up(t.Context(), other, nil); err == nil || !strings.Contains(err.Error(), "other options") {
		t.Errorf("with other options: got %v, want a refusal", err)
	}
}

func strictSSH(t *testing.T, l *lab.Lab) {
	for _, m := range l.Machines() {
		for _, host := range []string{m.Name, m.Address.String()} {
			if got := mustSSH(t, l, host, "hostname && sudo id -u"); got != m.Name+"\n0" {
				t.Errorf("ssh %s: got %q", host, got)
			}
		}
	}
	// The key of another machine under this one's name.
	known, err := os.ReadFile(filepath.Join(filepath.Dir(l.SSHConfig()), "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "known_hosts")
	swapped := strings.NewReplacer("cp1,", "w1,", l.Machines()[0].Address.String()+" ", l.Machines()[1].Address.String()+" ",
		"w1,", "cp1,", l.Machines()[1].Address.String()+" ", l.Machines()[0].Address.String()+" ").Replace(string(known))
	if err := os.WriteFile(wrong, []byte(swapped), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := ssh(t, l, "-o", "UserKnownHostsFile="+wrong, "cp1", "true"); err == nil || !strings.Contains(out, "HOST IDENTIFICATION HAS CHANGED") {
		t.Errorf("with another host key: got %v, %s", err, out)
	}
}

func repositories(t *testing.T, l *lab.Lab) {
	if held := mustSSH(t, l, "w1", "apt-mark", "showhold"); held != "kubeadm\nkubectl\nkubelet" {
		t.Errorf("held: %q", held)
	}
	if got := mustSSH(t, l, "w1", "apt-cache", "madison", "kubeadm"); !strings.Contains(got, "1.36.3-1.1") || strings.Contains(got, "1.37.2") {
		t.Errorf("of the old minor's repository: %q", got)
	}
	pointTo := func(minor string) {
		mustSSH(t, l, "w1", "sudo sed -i s,/v[0-9.]*/deb/,/v"+minor+"/deb/, /etc/apt/sources.list.d/kubernetes.list && sudo apt-get update")
	}
	pointTo("1.37")
	for _, name := range []string{"kubeadm", "kubelet", "kubectl"} {
		got := mustSSH(t, l, "w1", "apt-cache", "madison", name)
		if !strings.Contains(got, "1.37.2-1.1") || strings.Contains(got, "1.36.3") {
			t.Errorf("%s of the new minor's repository: %q", name, got)
		}
	}
	pointTo("1.36")
}

func reboot(t *testing.T, l *lab.Lab) {
	const bootID = "cat /proc/sys/kernel/random/boot_id"
	before := mustSSH(t, l, "w2", bootID)
	if got := nodes(t, l)["w2"].Status.NodeInfo.BootID; got != before {
		t.Errorf("the node says boot %s, the machine %s", got, before)
	}
	// The connection may or may not outlive the answer.
	_, _ = ssh(t, l, "w2", "sudo systemctl reboot")
	eventually(t, "w2 is Ready after another boot", func() error {
		n := nodes(t, l)["w2"]
		if n.Status.NodeInfo.BootID == before || !ready(n) {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
	if now := mustSSH(t, l, "w2", bootID); now == before {
		t.Errorf("the boot id is %s before and after", now)
	}
	wantAnswers(t, l, "w1", "w2")
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"strings"
	"testing"

	"refit.dev/refit/lab"
)

// faults sees that what tests break does break, and is whole again after.
func faults(t *testing.T, l *lab.Lab) {
	ctx := t.Context()
	for _, how := range []lab.Cut{lab.Reset, lab.Silence} {
		t.Run("SSH is cut: "+string(how), func(t *testing.T) {
			must(t, l.CutSSH(ctx, "w1", how))
			if out, err := ssh(t, l, "w1", "true"); err == nil {
				t.Errorf("SSH still works: %s", out)
			}
			must(t, l.HealSSH(ctx, "w1"))
			mustSSH(t, l, "w1", "true")
		})
	}
	t.Run("a disk is full", func(t *testing.T) {
		const path = "/var/cache/apt/archives"
		must(t, l.FillDisk(ctx, "w1", path, 1<<20))
		if out, err := ssh(t, l, "w1", "sudo cp /usr/bin/kubelet "+path); err == nil || !strings.Contains(out, "No space left on device") {
			t.Errorf("got %v, %s", err, out)
		}
		must(t, l.FreeDisk(ctx, "w1", path))
		mustSSH(t, l, "w1", "sudo cp /etc/hostname "+path+" && sudo rm "+path+"/hostname")
	})
	t.Run("a version of a package is missing", func(t *testing.T) {
		madison := func(machine string) string {
			return mustSSH(t, l, machine, "sudo apt-get update >/dev/null && apt-cache madison kubelet | grep http || true")
		}
		must(t, l.HidePackage(ctx, "w1", "kubelet", "1.36.3-1.1"))
		if got := madison("w1"); got != "" {
			t.Errorf("w1 still sees %s", got)
		}
		if got := madison("w2"); !strings.Contains(got, "1.36.3-1.1") {
			t.Errorf("w2 sees %q: nothing is missing there", got)
		}
		must(t, l.ShowPackages(ctx, "w1"))
		if got := madison("w1"); !strings.Contains(got, "1.36.3-1.1") {
			t.Errorf("w1 sees %q", got)
		}
	})
	t.Run("a machine hangs", func(t *testing.T) {
		must(t, l.Freeze(ctx, "w1"))
		if out, err := ssh(t, l, "w1", "true"); err == nil {
			t.Errorf("it answers: %s", out)
		}
		must(t, l.Thaw(ctx, "w1"))
		eventually(t, "w1 answers again", func() error {
			_, err := ssh(t, l, "w1", "true")
			return err
		})
	})
	t.Run("a machine is off", func(t *testing.T) {
		must(t, l.Kill(ctx, "w1"))
		eventually(t, "w1 is not Ready", func() error {
			if ready(nodes(t, l)["w1"]) {
				return errors.New("it is Ready")
			}
			return nil
		})
		must(t, l.Start(ctx, "w1"))
		eventually(t, "w1 is Ready again", func() error {
			if !ready(nodes(t, l)["w1"]) {
				return errors.New("it is not Ready")
			}
			return nil
		})
		wantAnswers(t, l, "w1", "w2")
	})
}

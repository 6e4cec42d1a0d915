// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"refit.dev/refit/lab"
)

// TestUpgrade is what a user does: an upgrade of a cluster with one control plane by one
// command, after refusals that touch nothing.
func TestUpgrade(t *testing.T) {
	l := up(t, lab.Options{Name: "e2e-upgrade"})
	o := newOperator(t, l)

	t.Run("a version of a package is missing on one host: refused, nothing touched", func(t *testing.T) {
		before := nodes(t, l)
		must(t, l.HidePackage(t.Context(), "w1", "kubelet", strings.TrimPrefix(next, "v")+"-1.1"))
		o.run(t, o.apply()...).want(t, 3, "Node w1: its repositories do not have kubelet "+next, "nothing was changed")
		must(t, l.ShowPackages(t.Context(), "w1"))
		wantUntouched(t, l, before)
	})
	t.Run("the disk of one host is full: refused, nothing touched", func(t *testing.T) {
		const path = "/var/cache/apt/archives"
		before := nodes(t, l)
		must(t, l.FillDisk(t.Context(), "w2", path, 1<<20))
		o.run(t, o.apply()...).want(t, 3, "Node w2: "+path+" has 0 MiB free", "nothing was changed")
		must(t, l.FreeDisk(t.Context(), "w2", path))
		wantUntouched(t, l, before)
	})
	t.Run("the plan says what will be done, and changes nothing", func(t *testing.T) {
		before := nodes(t, l)
		s := o.run(t, append([]string{"upgrade", "plan", "--to", next}, o.reach()...)...)
		s.want(t, 0)
		if !strings.Contains(s.out, "upgrade "+old+" to "+next+" in 1 hop") {
			t.Errorf("the plan says: %s", s.out)
		}
		wantUntouched(t, l, before)
	})
	t.Run("etcd cannot be saved first: refused, nothing touched", func(t *testing.T) {
		before := nodes(t, l)
		o.run(t, o.apply("--backup-dir", "/proc/none")...).want(t, 3, "there is no proven backup", "nothing was changed", "--no-backup")
		wantUntouched(t, l, before)
		o.run(t, "runs", "abort").want(t, 0)
	})
	t.Run("one command upgrades the cluster", func(t *testing.T) {
		through := map[string]*asking{"w1": service(t, l, "w1"), "w2": service(t, l, "w2")}
		server := api(t, l, false, patience)
		s := o.run(t, o.apply()...)
		s.want(t, 0, "3 of 3 nodes upgraded", "the API server did not answer for")
		server.end()
		t.Logf("asked from outside, the API server did not answer for %s, for %s at once at most",
			server.away.Round(time.Millisecond), server.longest.Round(time.Millisecond))
		for name, a := range through {
			a.wantAll(t, "the Service through "+name+" during the upgrade")
		}
	})
	wantUpgraded(t, l)
	t.Run("etcd was saved before", o.wantOneBackup)
	t.Run("the status says that nothing is left", func(t *testing.T) {
		s := o.run(t, "upgrade", "status", "-o", "json")
		s.want(t, 0)
		if strings.Contains(s.out, old) || !strings.Contains(s.out, next) {
			t.Errorf("the status says: %s", s.out)
		}
	})
	t.Run("again, there is nothing to do", func(t *testing.T) {
		o.run(t, o.apply()...).want(t, 0, "every node is at "+next+": there is nothing to do")
	})
	t.Run("the Service answers through all machines", func(t *testing.T) { wantAnswers(t, l) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"k8s.io/utils/clock"

	"refit.dev/refit/event"
)

// siteOf is a control plane and a worker whose machines are boxes.
func siteOf(t *testing.T) (*trial, *boxes) {
	t.Helper()
	c := newFakeCluster(t, "a", "b")
	c.workload("web", "b")
	spec := upgradeSpec("a", "b")
	spec.Upgrade.Held = map[string][]string{"a": {"kubeadm", "kubelet", "kubectl"}, "b": {"kubeadm", "kubelet", "kubectl"}}
	tr, bs := newTrial(t, c, spec), newBoxes(c, "a")
	tr.work = bs.upgrading()
	return tr, bs
}

func (bs *boxes) upgrading() upgrading {
	return upgrading{machines: &Fleet{Reach: bs.reach, Clock: clock.RealClock{}}}
}

// upgraded fails if not all is as an upgrade leaves it.
func (bs *boxes) upgraded(t *testing.T) {
	t.Helper()
	for name, b := range bs.all {
		for _, wrong := range b.wrong() {
			t.Errorf("%s: %s", name, wrong)
		}
		if n, _ := bs.c.Node(t.Context(), name); n.Spec.Unschedulable || n.Status.NodeInfo.KubeletVersion != newVersion {
			t.Errorf("%s: unschedulable %t, kubelet %s", name, n.Spec.Unschedulable, n.Status.NodeInfo.KubeletVersion)
		}
	}
}

// A Fleet brings machines to a version, each step once.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, bs := siteOf(t)
		if o := tr.run(t.Context()); o.Result != event.ResultDone {
			t.Fatalf("%+v; %+v", o, o.Status.Nodes["a"])
		}
		bs.upgraded(t)
	})
}

// killedAfter is a run that is killed after so many commands on its machines, or when it is
// to write so many records; 0 is never. It tells how many of each there were.
func killedAfter(t *testing.T, commands, records int) (tr *trial, bs *boxes, o Outcome) {
	t.Helper()
	tr, bs = siteOf(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	dead, seen := false, 0
	bs.kill, bs.die = commands, func() { dead = true; cancel(errDead) }
	tr.log.fail = func(Record) error {
		seen++
		if dead || records > 0 && seen >= records {
			dead = true
			bs.kill = max(1, bs.commands) // its machines hear no more of it either
			cancel(errDead)
			return errors.New("killed")
		}
		return nil
	}
	o = tr.run(ctx)
	return tr, bs, o
}

// A run is killed after every third command that it has run on its machines, in the middle of the
// work of the units there, and before each of its records. Resumed, it brings every machine
// to the version; neither kubeadm nor an installation nor a restart came twice, and nothing
// stays cordoned.
func TestFleetKilled(t *testing.T) {
	resume := func(t *testing.T, tr *trial, bs *boxes, ended bool) {
		tr.log.fail = nil
		bs.revive(ended)
		e := tr.next(t, UnknownStop)
		e.work = bs.upgrading()
		if o := e.run(t.Context()); o.Result != event.ResultDone {
			t.Fatalf("resumed: %+v; %+v", o, o.Status.Nodes)
		}
		bs.upgraded(t)
	}
	commands, records := 0, 0
	synctest.Test(t, func(t *testing.T) {
		tr, bs, o := killedAfter(t, 0, 0)
		if o.Result != event.ResultDone {
			t.Fatalf("without a kill: %+v", o)
		}
		commands, records = bs.commands, len(tr.log.records)-2 // created and opened are written before
	})
	t.Logf("a run has %d commands and writes %d records", commands, records)
	for n := 1; n < commands; n += 3 { // most of them only look
		t.Run(fmt.Sprintf("command %03d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, bs, _ := killedAfter(t, n, 0)
				resume(t, tr, bs, n%2 == 0)
			})
		})
	}
	for n := 1; n <= records; n++ {
		t.Run(fmt.Sprintf("record %02d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, bs, _ := killedAfter(t, 0, n)
				resume(t, tr, bs, n%2 == 0)
			})
		})
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/etcd"
	"refit.dev/refit/etcd/proven"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/internal/hint"
)

// Backup is a snapshot of etcd that is taken and proven before an upgrade touches anything.
type Backup struct {
	// File is where it goes, an absolute path.
	File string `json:"file"`
}

// etcdPatience is how long a member of etcd has to answer, as for refit backup save.
const etcdPatience = 5 * time.Second

// taken is a backup that was taken and proven.
type taken struct {
	revision, bytes int64
	keys            int
	by              string // the node by whose machine etcd was reached
}

// backup saves etcd and proves what was saved, unless an earlier process has, and returns why
// the run stops here; "" if it goes on. A process that was killed in the middle of it has left
// nothing that counts: it is taken again.
func (e *engine) backup(ctx context.Context) string {
	b := e.spec.Upgrade.Backup
	u, ok := e.work.(upgrading)
	if b == nil || !ok || e.backedUp(b) {
		return ""
	}
	note := func(state State, reason string) bool {
		return e.record(Record{Kind: KindStage, Stage: 1, Step: StepBackup, State: state, Reason: reason}) == nil
	}
	if ctx.Err() != nil || !note(Intent, b.File) {
		return stopReason(ctx)
	}
	begun := e.clock.Now()
	e.emit(event.Event{Type: event.BackingUp, Message: "etcd to " + b.File})
	t, err := u.backup(ctx, b.File, e.controlPlane())
	switch {
	case err != nil && ctx.Err() != nil:
		return stopReason(ctx)
	case err != nil:
		if !note(Lost, err.Error()) {
			return stopReason(ctx)
		}
		e.refused = cmp.Or(hint.Of(err), "see that a machine of the control plane can be reached, and that there is room for the snapshot here")
		why := fmt.Sprintf("there is no proven backup: %v", err)
		if info, err := os.Lstat(b.File); err == nil && info.Mode().IsRegular() { // one that was proven: others do not get the name
			why += "; the older one stays: " + b.File
		}
		return why
	}
	words := fmt.Sprintf("etcd to %s by way of %s: %d MiB, revision %d, %d keys", b.File, t.by, t.bytes>>20, t.revision, t.keys)
	if !note(Done, words) {
		return stopReason(ctx)
	}
	e.emit(event.Event{Type: event.BackedUp, Message: words, Seconds: e.clock.Since(begun).Seconds()})
	return ""
}

// backupAge is how old a backup may be when the first node is touched: a run may have been paused before that.
const backupAge = 24 * time.Hour

// backedUp tells whether there is a backup of what was before the run. It cannot be taken any more once
// something was touched; until then its file has to be there, and must not be an old one.
func (e *engine) backedUp(b *Backup) bool {
	if e.between(0, StepBackup) != Done {
		return false
	}
	e.mu.Lock()
	touched := slices.ContainsFunc(slices.Collect(maps.Values(e.status.Nodes)), func(n *NodeStatus) bool { return n.Step != "" || n.Visits > 0 })
	e.mu.Unlock()
	if touched {
		return true
	}
	info, err := os.Stat(b.File)
	return err == nil && info.Mode().IsRegular() && e.clock.Since(info.ModTime()) < backupAge
}

// controlPlane returns the nodes of the control plane by kubeadm's label, sorted by name.
func (e *engine) controlPlane() (nodes []*corev1.Node) {
	for _, n := range e.cluster.Snapshot().Nodes {
		if cluster.ControlPlane(n.Node) {
			nodes = append(nodes, n.Node)
		}
	}
	return nodes
}

// backups takes the backups of a run by its machines.
func (o *Operator) backups(spec *Spec, machines *inventory.Machines) func(context.Context, string, []*corev1.Node) (taken, error) {
	return func(ctx context.Context, file string, nodes []*corev1.Node) (taken, error) {
		if len(o.Etcd.Argv) == 0 {
			return taken{}, errors.New("this program cannot prove a snapshot")
		}
		var sources []etcd.Source
		for _, node := range nodes {
			sources = append(sources, etcd.Source{Name: "node " + node.Name, Reach: func() (host.Machine, error) { return machines.Machine(node, spec.Run) }})
		}
		taker := etcd.Taker{Worker: o.Etcd, Clock: o.Clock, Patience: etcdPatience, Cluster: string(spec.Cluster.UID)}
		t, err := taker.Take(ctx, sources, file)
		if err != nil {
			return taken{}, err
		}
		if err := o.noteProof(spec, t); err != nil {
			o.Sink.Emit(event.Event{Time: o.Clock.Now(), Type: event.Warning, Run: spec.Run, Message: err.Error()})
		}
		return taken{revision: t.Saved.Revision, bytes: t.Saved.Bytes, keys: t.Proof.Keys, by: t.By}, nil
	}
}

// noteProof remembers a backup for plans to come.
func (o *Operator) noteProof(spec *Spec, t *etcd.Taken) error {
	store, err := proven.DefaultStore()
	if err != nil {
		return err
	}
	info, err := os.Stat(t.Saved.File)
	if err != nil {
		return fmt.Errorf("note that a backup was proven: %w", err)
	}
	return store.Note(proven.Record{
		Cluster: cmp.Or(string(spec.Cluster.UID), t.Proof.Status.ClusterUID), Place: t.Saved.File,
		Saved: info.ModTime().UTC(), Proven: o.Clock.Now().UTC(), Revision: t.Saved.Revision, SHA256: t.Saved.SHA256,
	})
}

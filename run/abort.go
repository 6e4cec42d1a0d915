// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/etcd"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/provider"
)

// Abort gives a run up: it uncordons the nodes that carry the run's mark (one
// that somebody else had cordoned before stays cordoned), removes its soft taints, releases the lock if
// the run still has it, removes a snapshot that it had not come to prove, and closes the journal. It returns the nodes that were
// uncordoned. What was done to machines is not undone, and those that the run has made stay.
func (o *Operator) Abort(ctx context.Context, run string) (uncordoned []string, err error) {
	uncordoned, _, err = o.abort(ctx, run, nil)
	return uncordoned, err
}

// AbortRemoving is Abort, and before that removes the machines that are left over and carry
// nothing: it returns which. agreed are what Debts has said, and was asked about; a machine that is not
// among them is not removed, but an error, before anything is done.
func (o *Operator) AbortRemoving(ctx context.Context, run string, agreed []Debt) (uncordoned, removed []string, err error) {
	return o.abort(ctx, run, agreed)
}

func (o *Operator) abort(ctx context.Context, run string, agreed []Debt) (uncordoned, removed []string, err error) {
	journal, status, _, err := o.Store.open(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	if status.Closed() {
		return nil, nil, badInput("run %s was %s already: there is nothing to abort", run, status.Phase)
	}
	if err := o.sameCluster(ctx, status.Spec); err != nil {
		return nil, nil, err
	}
	if len(agreed) > 0 {
		debts, err := o.debts(ctx, status)
		if err == nil {
			removed, err = o.settle(ctx, journal, status.Spec, debts, agreed)
		}
		if err != nil {
			return nil, removed, err
		}
	}
	uncordoned, err = o.giveBack(ctx, run)
	if err == nil {
		err = o.disinviteAll(ctx, status)
	}
	if err == nil {
		err = o.releaseLeftover(ctx, run)
	}
	if err != nil {
		return uncordoned, removed, err // the run stays open: abort can be repeated
	}
	if to := status.mayBeRaised(); to != "" {
		o.Sink.Emit(event.Event{Time: o.Clock.Now(), Type: event.Warning, Run: run,
			Message: "the provider was asked to raise the control plane to " + to + ", and may still do so; another upgrade waits for its command"})
	}
	if u := status.Spec.Upgrade; u != nil && u.Backup != nil {
		if err := etcd.Forsake(u.Backup.File); err != nil { // nobody else would ever remove it
			return uncordoned, removed, err
		}
	}
	reason := phrase.Count(len(uncordoned), "node") + " uncordoned"
	if len(removed) > 0 {
		reason += ", " + phrase.Count(len(removed), "machine") + " removed"
	}
	return uncordoned, removed, journal.Append(Record{Kind: KindAborted, Reason: reason})
}

// disinviteAll takes back the bootstrap tokens of machines that were asked for and have not joined:
// one whose command goes on would join a cluster that does not wait for it any more.
func (o *Operator) disinviteAll(ctx context.Context, status *Status) error {
	u := status.Spec.Upgrade
	if u == nil || u.Replace == nil || u.Replace.Provider.Join != provider.JoinKubeadm {
		return nil
	}
	for _, e := range status.ledger() {
		if e.Old || e.Stand == Serving {
			continue
		}
		if err := (apiRoster{client: o.Client, clock: o.Clock}).disinvite(ctx, e.Machine.Key); err != nil {
			return err
		}
	}
	return nil
}

// giveBack uncordons what a run has cordoned, and takes its soft taints off.
func (o *Operator) giveBack(ctx context.Context, run string) (uncordoned []string, err error) {
	list, err := o.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	for i := range list.Items {
		node := &list.Items[i]
		if mark, marked := cluster.MarkOf(node); !marked || mark.Run != run {
			if cluster.TaintedBy(node) == run {
				if err := drain.Untaint(ctx, o.Client, node.Name, run); err != nil {
					return uncordoned, err
				}
			}
			continue
		}
		changed, err := drain.Uncordon(ctx, o.Client, node.Name, run)
		if err != nil {
			return uncordoned, err
		}
		if changed {
			uncordoned = append(uncordoned, node.Name)
			o.Sink.Emit(event.Event{Time: o.Clock.Now(), Type: event.NodeUncordoned, Run: run, Node: node.Name})
			drain.Note(ctx, o.Client, o.Clock.Now(), node, reasonUncordoned, fmt.Sprintf("refit run %s was aborted", run))
		}
	}
	return uncordoned, nil
}

// releaseLeftover releases the lock if a dead process of the run left it behind.
func (o *Operator) releaseLeftover(ctx context.Context, run string) error {
	machine, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this machine's name: %w", err)
	}
	holder := holderOf(run, machine)
	leases := o.Client.CoordinationV1().Leases(lockNamespace)
	found, err := leases.Get(ctx, lockName, metav1.GetOptions{})
	if err != nil || ptr.Deref(found.Spec.HolderIdentity, "") != holder {
		return nil //nolint:nilerr // there is none, or it may not be read: it expires by itself
	}
	l := &lease{leases: leases, holder: holder, clock: o.Clock, current: found, lost: make(chan struct{})}
	return l.release(ctx)
}

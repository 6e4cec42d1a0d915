// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/provider"
)

// Debt is a machine that is left over if a run is given up now.
type Debt struct {
	MachineEntry
	// Do is what a person has to do about it; empty of one that carries nothing, and can be removed.
	Do string

	joined *corev1.Node // its Node, if it has one
}

// Debts says what machines a run leaves over, as its provider and the cluster have it now. A run
// that replaces nothing has none.
func (o *Operator) Debts(ctx context.Context, run string) ([]Debt, error) {
	status, err := o.Store.Read(run)
	if err != nil {
		return nil, err
	}
	for _, e := range status.ledger() {
		if e.Stand == Ordered && !status.Closed() {
			o.Sink.Emit(event.Event{
				Time: o.Clock.Now(), Type: event.Warning, Run: run, Node: e.Node,
				Message: "nobody has seen how the making of machine " + e.Machine.Key + " ended; if the provider's command still runs, it is waited for",
			})
		}
	}
	return o.debts(ctx, status)
}

func (o *Operator) debts(ctx context.Context, status *Status) (debts []Debt, err error) {
	entries := status.ledger()
	if len(entries) == 0 || status.Closed() {
		return nil, nil
	}
	if err := o.sameCluster(ctx, status.Spec); err != nil {
		return nil, err
	}
	makes := o.providerOf(status.Spec)
	for _, e := range entries {
		if e.Stand != Ordered {
			continue
		}
		if err := makes.Await(ctx, e.Machine.Key); err != nil {
			return nil, err
		}
	}
	list, err := makes.List(ctx)
	if err != nil {
		return nil, hint.Wrap(err, "without the provider nobody knows which machines are left; see why it does not answer, then try again")
	}
	for _, e := range entries {
		d, there, err := o.debt(ctx, e, list)
		if err != nil {
			return nil, err
		}
		if there {
			debts = append(debts, d)
		}
	}
	return debts, nil
}

// debt judges one machine; there is false of one that is gone, or that stays for good.
func (o *Operator) debt(ctx context.Context, e MachineEntry, list []provider.Machine) (d Debt, there bool, err error) {
	now, listed := provider.ByID(list, e.Machine.ID)
	if !e.Old {
		now, listed = provider.ByKey(list, e.Machine.Key)
	}
	if !listed || e.Stand == Removed {
		return d, false, nil
	}
	if known := e.Machine.Node; (e.Old || known != "") && now.Node != "" && now.Node != known {
		return d, false, &provider.BadAnswerError{Err: fmt.Errorf("%s is node %s now", e.Machine, now.Node)}
	}
	if now.Node == "" { // a provider need not know it, and the journal may
		now.Node = e.Machine.Node
	}
	e.Machine = now
	d = Debt{MachineEntry: e}
	if now.Node == "" {
		return d, true, nil
	}
	api := &live{client: o.Client}
	if d.joined, err = api.Node(ctx, now.Node); err != nil {
		return d, false, err
	}
	switch {
	case e.Old && d.joined == nil:
		return d, true, nil
	case e.Old: // its Node is there, and is uncordoned
		return d, false, nil
	case e.Stand == Serving:
		old, err := api.Node(ctx, e.Node)
		if err != nil || old == nil { // it has taken its place
			return d, false, err
		}
		d.Do = fmt.Sprintf("node %s is in service, and node %s, in whose place it came, is still there: take either away "+
			"(refit drain NODE, kubectl delete node NODE, then its machine), or keep both", now.Node, e.Node)
	case d.joined != nil:
		pods, err := o.podsOn(ctx, now.Node)
		if err != nil {
			return d, false, err
		}
		if pods > 0 {
			d.Do = fmt.Sprintf("node %s has joined and carries pods: refit drain %s, kubectl delete node %s, then have the provider remove machine %s",
				now.Node, now.Node, now.Node, now.ID)
		}
	}
	return d, true, nil
}

// podsOn counts the pods of a node that are more than its own furniture.
func (o *Operator) podsOn(ctx context.Context, node string) (n int, err error) {
	pods, err := o.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return 0, fmt.Errorf("list the pods of node %s: %w", node, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		owner := metav1.GetControllerOf(p)
		_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
		if !mirror && (owner == nil || owner.Kind != "DaemonSet") {
			n++
		}
	}
	return n, nil
}

// settle removes the machines of debts about which nobody else has to do anything. They have to
// be among those that were agreed upon.
func (o *Operator) settle(ctx context.Context, journal *Journal, spec *Spec, debts, agreed []Debt) (removed []string, err error) {
	makes := o.providerOf(spec)
	for _, d := range debts {
		known := slices.ContainsFunc(agreed, func(a Debt) bool { return a.Do == "" && a.Old == d.Old && a.Machine.ID == d.Machine.ID })
		if d.Do == "" && !known {
			return nil, hint.Wrap(fmt.Errorf("%s carries nothing now, and did not when it was asked what may be removed, or was not there", d.Machine),
				"abort the run again; nothing was removed")
		}
	}
	for _, d := range debts {
		if d.Do != "" {
			continue
		}
		if d.joined != nil {
			if err := o.dismiss(ctx, spec, d); err != nil {
				return removed, err
			}
		}
		step := StepAbandon
		if d.Old {
			step = StepDispose
		}
		r := Record{Kind: KindStep, Node: d.Node, Step: step, State: Intent, Reason: "the run is given up: " + d.Machine.String()}
		if err := journal.Append(r); err != nil {
			return removed, err
		}
		if err := o.unmake(ctx, makes, spec, d.Machine); err != nil {
			return removed, err
		}
		r.State = Done
		if err := journal.Append(r); err != nil {
			return removed, err
		}
		removed = append(removed, d.Machine.String())
	}
	return removed, nil
}

// dismiss takes the Node of a machine away that carries nothing: it is closed to pods first, and
// looked at once more.
func (o *Operator) dismiss(ctx context.Context, spec *Spec, d Debt) error {
	mark := cluster.Mark{Run: spec.Run, Since: o.Clock.Now()}
	if _, err := drain.Cordon(ctx, o.Client, d.joined, mark); err != nil {
		return err
	}
	pods, err := o.podsOn(ctx, d.joined.Name)
	if err != nil {
		return err
	}
	if pods > 0 {
		return hint.Wrap(fmt.Errorf("node %s has got pods meanwhile", d.joined.Name), "abort the run again: it says what to do then")
	}
	return apiRoster{client: o.Client, clock: o.Clock}.remove(ctx, d.joined.Name, d.joined.UID)
}

// unmake has a machine removed and waits until it is not listed any more.
func (o *Operator) unmake(ctx context.Context, makes provider.Provider, spec *Spec, m provider.Machine) error {
	if m.Key != "" {
		if err := (apiRoster{client: o.Client, clock: o.Clock}).disinvite(ctx, m.Key); err != nil && spec.Upgrade.Replace.Provider.Join == provider.JoinKubeadm {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, spec.Timeouts.Ready.Duration, errTimeout)
	defer cancel()
	err := makes.Delete(ctx, spec.Run, m)
	tick := o.Clock.NewTicker(time.Second)
	defer tick.Stop()
	for {
		list, looked := makes.List(ctx)
		if _, there := provider.ByID(list, m.ID); looked == nil && !there {
			return nil
		}
		if err := errors.Join(err, looked); err != nil {
			return hint.Wrap(err, "see what the provider says, then abort the run again; whatever is left is told")
		}
		select {
		case <-tick.C():
		case <-ctx.Done():
			return fmt.Errorf("the provider still lists %s: %w", m, context.Cause(ctx))
		}
	}
}

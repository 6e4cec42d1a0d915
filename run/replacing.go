// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/budget"
	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/provider"
)

// replacing is the work on a worker that gives way to a new machine. The node stays as it is
// until the new one is in service: a machine that is not made, or does not join, takes nothing away.
type replacing struct {
	*worker
	with upgrading
}

// todo is what is to be done in the visit.
func (r replacing) todo(ctx context.Context) (todo, error) {
	hooks := r.spec.Upgrade.Hooks
	t := todo{departs: true, close: func() {}}
	if hooks.AfterNode != "" {
		t.after = append(t.after, r.with.hook(r.worker, StepAfterNode, hooks.AfterNode, r.newcomer))
	}
	if r.spec.worked(r.status) {
		return t, nil
	}
	gone, err := r.departed(ctx)
	if err != nil {
		return todo{}, err
	}
	if t.inPlace = gone; !gone {
		if _, err := r.admit(ctx); err != nil {
			return todo{}, err
		}
		if hooks.BeforeNode != "" {
			t.serving = append(t.serving, r.with.hook(r.worker, StepBeforeNode, hooks.BeforeNode, r.recheck))
		}
		t.serving = append(t.serving, r.provide)
		t.empty = append(t.empty, r.depart)
	}
	t.empty = append(t.empty, r.dispose, func(ctx context.Context) error {
		return r.step(ctx, StepMachine, Record{}, func() (Record, error) { return Record{}, nil })
	})
	return t, nil
}

// departed tells whether the Node is gone because an earlier process has deleted it.
func (r replacing) departed(ctx context.Context) (bool, error) {
	if r.status.Steps[StepDepart] == "" {
		return false, nil
	}
	_, err := r.recheck(ctx)
	if left := (*gone)(nil); errors.As(err, &left) {
		if r.status.Steps[StepDepart] == Done {
			return true, nil
		}
		return true, r.record(Record{Kind: KindStep, Node: r.target.Name, Step: StepDepart, State: Done, Reason: "found done"})
	}
	return false, err
}

// newcomer is the Node of the machine that has come in the node's place.
func (r replacing) newcomer(ctx context.Context) (*corev1.Node, error) {
	var node *corev1.Node
	err := retry(ctx, r.clock, r.spec.Timeouts.Stall.Duration, func(ctx context.Context) (err error) {
		node, err = r.cluster.Node(ctx, r.status.Machine.Node)
		return err
	})
	if err == nil && node == nil {
		err = fmt.Errorf("its new node %s is gone", r.status.Machine.Node)
	}
	return node, err
}

// provide sees to it that there is a new machine in service. When it has come to be, the node
// waits for another decision: where its pods may go is known only now.
func (r replacing) provide(ctx context.Context) error {
	if r.status.Steps[StepJoin] == Done {
		return r.awaitService(ctx)
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	if err := r.join(ctx); err != nil {
		return err
	}
	r.phase(event.PhasePending, "its new machine is in service")
	return errPutAside
}

// join waits until the new machine is a node of the cluster that can do what the old one does.
func (r replacing) join(ctx context.Context) error {
	m, before := *r.status.Machine, *r.status.Machine
	return r.step(ctx, StepJoin, Record{Machine: &before, Reason: m.Machine.String() + " joins"}, func() (Record, error) {
		last, err := r.until(ctx, r.spec.Timeouts.Ready.Duration, []topic{anything()}, func() (string, error) { return r.lacks(ctx, &m) })
		if errors.Is(err, errTimeout) {
			err = r.timeout(m.Machine.String()+" is not in service", last, r.spec.Timeouts.Ready.Duration,
				r.kept("look at the new machine; refit runs resume %s waits for it again, refit runs abort %s --yes removes it"))
		}
		if err != nil {
			return Record{}, err
		}
		if r.spec.Upgrade.Replace.Provider.Join == provider.JoinKubeadm {
			if err := r.call(ctx, func(ctx context.Context) error { return r.with.roster.disinvite(ctx, m.Key) }); err != nil {
				return Record{}, err
			}
		}
		return Record{Machine: &m}, nil
	})
}

// kept says, with an advice about this run, that the old node still does its work.
func (r replacing) kept(advice string) string {
	return fmt.Sprintf(advice, r.spec.Run, r.spec.Run) + "; node " + r.target.Name + " was not touched"
}

// lacks says what a new machine lacks to be in service; "" if nothing. It notes in m what has come to
// be known of it. The error is a *failure for what will not change by waiting.
func (r replacing) lacks(ctx context.Context, m *Made) (string, error) {
	if m.Node == "" {
		list, err := r.list(ctx)
		if err != nil {
			return err.Error(), passing(err)
		}
		found, known := provider.ByKey(list, m.Key)
		switch {
		case !known:
			return "the provider does not list it any more", nil
		case found.ID != m.ID:
			return "", r.lie("the machine asked for as %s was %s, and is %s now", m.Key, m.ID, found.ID)
		case found.Node == "":
			return "the provider does not know its node yet", nil
		}
		if err := r.credible(found); err != nil {
			return "", err
		}
		m.Node = found.Node
	}
	node := r.cluster.Seen(m.Node)
	if node == nil {
		return "node " + m.Node + " has not joined", nil
	}
	if m.UID != "" && m.UID != string(node.UID) {
		return "", r.lie("node %s, which had joined, was replaced by another one of its name", m.Node)
	}
	if has := node.Status.NodeInfo.KubeletVersion; has != "" && !r.spec.meets(r.stage.Version, has) {
		return "", &failure{
			reason: fmt.Sprintf("the new node %s has a kubelet of %s, and %s was asked for", m.Node, has, r.stage.Version),
			hint:   r.kept("have the provider make machines of that version; refit runs abort %[2]s --yes removes this one, refit runs resume %[1]s looks at it again"),
		}
	}
	m.UID = string(node.UID)
	old, err := r.seen()
	if err != nil {
		return "", err
	}
	like := likenessOf(old)
	if lack, _ := like.missing(node); !lack.empty() {
		err := r.call(ctx, func(ctx context.Context) error {
			if err := r.lock.check(ctx); err != nil {
				return err
			}
			return r.with.roster.liken(ctx, m.Node, node.UID, like)
		})
		return "its labels and taints are carried over", err
	}
	return r.unfit(node), nil
}

// unfit says what keeps the node of a new machine from being in service, or "".
func (r replacing) unfit(node *corev1.Node) string {
	switch {
	case !r.spec.meets(r.stage.Version, node.Status.NodeInfo.KubeletVersion):
		return fmt.Sprintf("the kubelet of node %s says nothing of its version yet", node.Name)
	case !cluster.Ready(node):
		return fmt.Sprintf("node %s: %s", node.Name, readyMessage(node))
	case node.Spec.Unschedulable:
		return fmt.Sprintf("node %s is cordoned", node.Name)
	}
	has := daemons(r.cluster.Around(node.Name))
	for name, there := range daemons(r.cluster.Around(r.target.Name)) {
		if there && !has[name] {
			return fmt.Sprintf("DaemonSet %s has no Ready pod on node %s", name, node.Name)
		}
	}
	for name, there := range has {
		if !there {
			return fmt.Sprintf("the pod of DaemonSet %s on node %s is not Ready", name, node.Name)
		}
	}
	return ""
}

// daemons are the DaemonSets with pods on a node, and whether those are Ready.
func daemons(node *cluster.Node) map[string]bool {
	found := map[string]bool{}
	if node == nil {
		return found
	}
	for _, p := range node.Pods {
		if len(p.Controllers) == 0 || p.DeletionTimestamp != nil || budget.Finished(p.Pod) {
			continue
		}
		if c := p.Controllers[0]; c.Kind == "DaemonSet" && c.Group == "apps" {
			name := c.Namespace + "/" + c.Name
			found[name] = found[name] || budget.Healthy(p.Pod)
		}
	}
	return found
}

// awaitService waits until the new node, which was in service, is so now: nothing is taken
// away for one that is not.
func (r replacing) awaitService(ctx context.Context) error {
	m := r.status.Machine
	last, err := r.until(ctx, r.spec.Timeouts.Ready.Duration, []topic{anything()}, func() (string, error) {
		node := r.cluster.Seen(m.Node)
		switch {
		case node == nil:
			return "node " + m.Node + " is gone", nil
		case string(node.UID) != m.UID:
			return "node " + m.Node + " is another one of its name", nil
		case !cluster.Ready(node):
			return readyMessage(node), nil
		case node.Spec.Unschedulable:
			return "it is cordoned", nil
		}
		return "", nil
	})
	if errors.Is(err, errTimeout) {
		return r.timeout("node "+m.Node+", which is to come in its place, is not in service", last, r.spec.Timeouts.Ready.Duration,
			"look at the new machine; once its node is Ready, refit runs resume "+r.spec.Run)
	}
	return err
}

// depart deletes the Node, which is empty.
func (r replacing) depart(ctx context.Context) error {
	if err := r.awaitService(ctx); err != nil {
		return err
	}
	if _, err := r.ownCordon(ctx); err != nil {
		return err
	}
	intent := Record{Reason: fmt.Sprintf("node %s is in its place", r.status.Machine.Node)}
	return r.step(ctx, StepDepart, intent, func() (Record, error) {
		return Record{}, r.call(ctx, func(ctx context.Context) error {
			if err := r.lock.check(ctx); err != nil {
				return err
			}
			return r.with.roster.remove(ctx, r.target.Name, r.target.UID)
		})
	})
}

// call asks the API server, again if it is away.
func (r replacing) call(ctx context.Context, f func(context.Context) error) error {
	return retry(ctx, r.clock, r.spec.Timeouts.Stall.Duration, f)
}

// until asks f, at once, whenever a topic changes and from time to time, until it has nothing to say. It
// returns what it said last, with an errTimeout or the cause of ctx's end.
func (r replacing) until(ctx context.Context, limit time.Duration, topics []topic, f func() (string, error)) (string, error) {
	timer := r.clock.NewTimer(limit)
	defer timer.Stop()
	bell := r.lookout.wait(topics) // before the first look, so that nothing is missed
	defer r.lookout.leave(topics, bell)
	for {
		last, err := f()
		if err != nil || last == "" {
			return last, err
		}
		again := r.clock.NewTimer(lookAgain)
		select {
		case <-bell:
		case <-again.C():
		case <-timer.C():
			again.Stop()
			return last, errTimeout
		case <-ctx.Done():
			again.Stop()
			return last, context.Cause(ctx)
		}
		again.Stop()
	}
}

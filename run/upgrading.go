// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/provider"
)

// upgrading is the work of refit upgrade apply.
type upgrading struct {
	machines Machines
	// local is where hooks run.
	local Hosts
	// ask asks the API server for something, for the probe; nil: its outages are not measured.
	ask func(ctx context.Context) error
	// recorded asks for the version that kubeadm has noted for the cluster; nil: nobody does.
	recorded func(ctx context.Context) (string, error)
	// backup saves etcd to a file by way of one of these nodes' machines, and proves it.
	backup func(ctx context.Context, file string, controlPlane []*corev1.Node) (taken, error)
	// dial connects from the machine of a node, for the probes of Services; nil: they are
	// not asked.
	dial func(ctx context.Context, node *corev1.Node, address string) (net.Conn, error)
	// provider makes and removes machines, roster lets them join; both nil unless workers are replaced.
	provider provider.Provider
	roster   roster
	// plane raises a managed control plane, and version asks the API server for what it is, over a
	// connection of its own; nil otherwise.
	plane   provider.ControlPlane
	version func(ctx context.Context) (string, error)
}

func (u upgrading) todo(ctx context.Context, w *worker) (todo, error) {
	if w.stage == nil {
		return todo{}, fmt.Errorf("node %s is in no stage of the upgrade", w.target.Name)
	}
	if w.spec.replaces(w.stage) {
		return replacing{worker: w, with: u}.todo(ctx)
	}
	hooks := w.spec.Upgrade.Hooks
	var after []act
	if hooks.AfterNode != "" {
		after = append(after, u.hook(w, StepAfterNode, hooks.AfterNode, w.recheck))
	}
	if w.status.Steps[StepUncordon] == Done { // the machine has nothing to do with what is left
		return todo{after: after, close: func() {}}, nil
	}
	enter := w.admit
	if w.spec.worked(w.status) {
		enter = w.recheck
	}
	node, err := enter(ctx)
	if err != nil {
		return todo{}, err
	}
	p, err := u.open(ctx, w, node)
	if err != nil {
		return todo{}, err
	}
	t := todo{
		after:   after,
		inPlace: w.spec.Upgrade.AllAtOnce || w.stage.KubeletLater || w.stage.KubeletThere,
		ready: func(node *corev1.Node) string {
			if has := node.Status.NodeInfo.KubeletVersion; has != w.stage.Version && !w.stage.KubeletLater {
				return fmt.Sprintf("its kubelet is %s and not yet %s", has, w.stage.Version)
			}
			return ""
		},
	}
	may := func(ctx context.Context) error { _, err := w.ownCordon(ctx); return err }
	look := func(ctx context.Context) error { _, err := w.recheck(ctx); return err }
	if t.inPlace {
		may = look
	}
	end, quiet := func(context.Context) error { return nil }, func() {}
	if w.stage.Role.ControlPlane() {
		var begin act
		begin, end, quiet = u.turn(w)
		t.serving = append(t.serving, u.awaitEtcd(w), begin, u.stepAside(w))
	}
	t.close = func() { quiet(); _ = p.Close() }
	if hooks.BeforeNode != "" {
		t.serving = append(t.serving, u.hook(w, StepBeforeNode, hooks.BeforeNode, w.recheck))
	}
	for _, s := range p.Serving() {
		t.serving = append(t.serving, u.step(w, p, s, look))
	}
	for _, s := range p.Empty() {
		t.empty = append(t.empty, u.step(w, p, s, may))
	}
	t.empty = append(t.empty, func(ctx context.Context) error {
		return w.step(ctx, StepMachine, Record{}, func() (Record, error) { return Record{}, nil })
	})
	var last []act
	for _, s := range p.After() {
		if s.Last {
			last = append(last, u.step(w, p, s, look))
			continue
		}
		t.proof = append(t.proof, u.step(w, p, s, look))
	}
	t.proof = append(t.proof, u.verify(w, p), end)
	if w.stage.Role.ControlPlane() {
		t.proof = append(t.proof, u.awaitEtcd(w))
	}
	t.proof = append(t.proof, last...)
	return t, nil
}

// open reaches the machine of a node.
func (u upgrading) open(ctx context.Context, w *worker, node *corev1.Node) (Procedure, error) {
	var p Procedure
	err := w.persist(ctx, func() (bool, error) {
		// The machine is compared with what its Node tells now: it may just have booted.
		if seen := w.cluster.Seen(node.Name); seen != nil && seen.UID == node.UID {
			node = seen
		}
		var err error
		p, err = u.machines.Open(ctx, Visit{
			Run: w.spec.Run, Node: node, Stage: *w.stage, Upgrade: w.spec.Upgrade,
			Done:  func(s Step) bool { return w.status.Steps[s] == Done },
			Begun: func(s Step) time.Time { return w.status.begun[s] },
			Again: w.unknown == UnknownRerun,
		})
		return err == nil, err
	})
	if err != nil {
		return nil, w.unreached(err)
	}
	return p, nil
}

func (w *worker) unreached(err error) error {
	if !errors.Is(err, errTimeout) {
		return err // the run is to stop
	}
	return &failure{
		reason: fmt.Sprintf("its machine could not be looked at: %v", err),
		hint:   "see to it that the machine can be reached, then refit runs resume " + w.spec.Run,
	}
}

// hook runs a command of the operator's about a node, which look looks at.
func (u upgrading) hook(w *worker, step Step, command string, look func(context.Context) (*corev1.Node, error)) act {
	return func(ctx context.Context) error {
		if w.status.Steps[step] == Done {
			return nil
		}
		node, err := look(ctx)
		if err != nil {
			return err
		}
		return w.shell(ctx, step, u.local(node), withVersion(command, w.stage.Version))
	}
}

// withVersion puts a version into the environment of a command. It is one of a Spec
// that was checked, and has nothing in it that a shell would read.
func withVersion(command, version string) string {
	return "export REFIT_VERSION='" + strings.ReplaceAll(version, "'", "") + "'\n" + command
}

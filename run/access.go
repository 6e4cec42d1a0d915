// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/inventory"
	"refit.dev/refit/host/remote"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin/simulated"
)

// canReboot tells whether the run has a way to reboot the machine of node.
func (s *Spec) canReboot(node *corev1.Node) bool { return s.Access != nil || host.CanReboot(node) }

// machines opens the way to the machines; without an Access as the user's own ssh goes.
func (s *Spec) machines() (*inventory.Machines, error) {
	options, err := remote.DefaultOptions()
	if err != nil {
		return nil, err
	}
	return inventory.Open(ptr.Deref(s.Access, inventory.Access{}), options)
}

// checkAccess says beforehand what would keep a run from its machines, as far as that
// can be known without connecting to any, and what of the settings is left out.
func (s *Spec) checkAccess(snapshot *cluster.Snapshot) (warnings []string, err error) {
	if s.Access == nil {
		return nil, nil
	}
	machines, err := s.machines()
	if err != nil {
		return nil, &InputError{err}
	}
	defer machines.Close()
	if err := s.Access.Check(func(name string) bool { return snapshot.Node(name) != nil }); err != nil {
		return nil, &InputError{err}
	}
	places := map[string]string{}
	for _, t := range s.Nodes {
		n := snapshot.Node(t.Name)
		if n == nil || s.replaced(t.Name) { // nobody logs in there
			continue
		}
		place, err := s.place(machines, n.Node)
		if err != nil {
			return nil, &InputError{err}
		}
		if other := places[place]; other != "" {
			return nil, &InputError{hint.Wrap(fmt.Errorf("nodes %s and %s are on one machine: both are at %s", other, t.Name, place),
				"see their addresses in kubectl get nodes -o wide, and the inventory if there is one; nothing was changed")}
		}
		places[place] = t.Name
	}
	return machines.Warnings(), nil
}

// place says where the machine of a node is; an error that nothing leads there.
func (s *Spec) place(machines *inventory.Machines, node *corev1.Node) (string, error) {
	if host.CanReboot(node) {
		return "", hint.Wrap(fmt.Errorf("node %s is a simulated node, by its label: it has no machine that could be reached over SSH", node.Name),
			"leave --ssh out, an upgrade cannot go there at all; if it is a real one, take its label %s away", simulated.KubeletLabel)
	}
	return machines.Place(node)
}

// hosts returns where the run's commands and reboots go, and what gives that up.
func (o *Operator) hosts(spec *Spec) (hosts Hosts, closing func(), err error) {
	local := func(node *corev1.Node) host.Host { return host.Of(o.Client, node, spec.Run) }
	if spec.Access == nil {
		return local, func() {}, nil
	}
	machines, err := spec.machines()
	if err != nil {
		return nil, nil, &InputError{err}
	}
	return func(node *corev1.Node) host.Host {
			if _, err := spec.place(machines, node); err != nil { // the label may be newer than the run
				return unreachable{err}
			}
			m, err := machines.Machine(node, spec.Run)
			if err != nil {
				return unreachable{err}
			}
			return host.Bound(m, node)
		}, func() {
			if err := machines.Close(); err != nil {
				o.Sink.Emit(event.Event{Time: o.Clock.Now(), Type: event.Warning, Run: spec.Run, Message: "close the connections to machines: " + err.Error()})
			}
		}, nil
}

// unreachable is a host of which it is not known where it is.
type unreachable struct{ err error }

func (u unreachable) Run(context.Context, string, host.Output) error { return u.err }
func (u unreachable) Reboot(context.Context, string) error           { return u.err }

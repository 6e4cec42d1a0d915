// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"refit.dev/refit/internal/hint"
)

// Node is a machine that is, or becomes, a node of the cluster, as the container engine has it.
type Node struct {
	Machine

	// ID is the engine's: no other machine ever has it.
	ID string
	// Added: it came by Add.
	Added bool
	// Leaving: it is being removed, or a Remove that was killed has begun to.
	Leaving bool
}

// Present returns those nodes of a lab that have, or had, power, in the order of Machines. It
// changes nothing and waits for nobody.
func Present(ctx context.Context, name string) ([]Node, error) {
	l, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	nodes, err := l.present(ctx)
	// One that was never started is what a killed Add has left: it is no machine yet, and swept.
	return slices.DeleteFunc(nodes, func(n found) bool { return n.state == "created" }).nodes(), err
}

// found is a node with the engine's word for its state.
type found struct {
	Node

	state string
}

type founds []found

func (f founds) nodes() []Node {
	var out []Node
	for _, n := range f {
		out = append(out, n.Node)
	}
	return out
}

func (l *Lab) present(ctx context.Context) (founds, error) {
	out, err := l.engine.docker(ctx, nil, "ps", "--all", "--no-trunc", "--filter", "label="+label(l.Name()), "--format", "{{.ID}} {{.Names}} {{.State}}")
	if err != nil {
		return nil, fmt.Errorf("lab %s: list its containers: %w", l.Name(), err)
	}
	byName := map[string][]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 {
			byName[f[1]] = f
		}
	}
	var list founds
	nodes := l.Nodes()
	for i, m := range append(nodes, l.removed()...) {
		if f, there := byName[l.container(m.Name)]; there {
			list = append(list, found{Node{m, f[0], l.isAdded(m.Name), i >= len(nodes) || f[2] == "removing"}, f[2]})
		}
	}
	return list, nil
}

// Add makes a new worker and returns when it has power; it then installs Kubernetes and joins the
// cluster by itself, as a machine in a cloud does. One of the name that was added before is
// returned as it is.
func Add(ctx context.Context, name string, n Newcomer, progress Progress) (Node, error) {
	if err := n.check(); err != nil {
		return Node{}, fmt.Errorf("add a machine: %w", err)
	}
	unlock, err := lock(ctx, progress)
	if err != nil {
		return Node{}, err
	}
	defer unlock()
	l, err := Open(ctx, name)
	if err != nil {
		return Node{}, err
	}
	if l.record.Options.Flavour != Kubeadm {
		return Node{}, fmt.Errorf("lab %s is one from %s: machines that join by themselves are for labs of kubeadm", name, l.record.Options.Flavour)
	}
	if l.record.Image == "" {
		return Node{}, hint.Wrap(fmt.Errorf("lab %s was made by an older refit-lab", name), "`make lab-up` once more adds what is missing in its record")
	}
	if err := l.sweep(ctx); err != nil {
		return Node{}, err
	}
	there, err := l.present(ctx)
	if err != nil {
		return Node{}, err
	}
	if i := slices.IndexFunc(there, func(f found) bool { return f.Name == n.Name && f.Added }); i >= 0 {
		return there[i].Node, nil
	}
	if err := l.add(ctx, n); err != nil {
		return Node{}, fmt.Errorf("lab %s: add machine %s: %w", name, n.Name, err)
	}
	if there, err = l.present(ctx); err != nil {
		return Node{}, err
	}
	i := slices.IndexFunc(there, func(f found) bool { return f.Name == n.Name })
	if i < 0 {
		return Node{}, fmt.Errorf("lab %s: machine %s has gone again", name, n.Name)
	}
	progress.say("machine %s is started", n.Name)
	return there[i].Node, nil
}

// add makes the machine; it is in the record before anything of it is there.
func (l *Lab) add(ctx context.Context, n Newcomer) error {
	h, err := l.engine.host(ctx)
	if err != nil {
		return err
	}
	m, err := l.admit(n)
	if err != nil {
		return err
	}
	if err := l.write(); err != nil {
		return err
	}
	keys, err := l.writeKeys()
	if err != nil {
		return err
	}
	files, err := l.filesOf(h, keys.login, l.record.Pause)
	if err != nil {
		return err
	}
	seed, secret, err := l.seed(m, n, h)
	if err != nil {
		return err
	}
	maps.Copy(files, seed)
	if err := l.assemble(ctx, m, l.record.Image, h, files, keys.host[m.Name]); err != nil {
		return err
	}
	if err := l.put(ctx, m.Name, secret, 0o600); err != nil {
		return err
	}
	_, err = l.engine.docker(ctx, nil, "start", l.container(m.Name))
	return err
}

// Remove takes a worker away for good, with its disks. id is the engine's; one that the lab does
// not have is no error. Its Node stays.
func Remove(ctx context.Context, name, id string, progress Progress) error {
	unlock, err := lock(ctx, progress)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := Open(ctx, name)
	if err != nil {
		return err
	}
	return l.takeAway(ctx, id, progress)
}

// takeAway is Remove, by one who has the lock.
func (l *Lab) takeAway(ctx context.Context, id string, progress Progress) error {
	if err := l.sweep(ctx); err != nil {
		return err
	}
	there, err := l.present(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(there, func(f found) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	m := there[i].Machine
	if m.Role != Worker {
		return hint.Wrap(fmt.Errorf("lab %s: machine %s is a %s", l.Name(), m.Name, m.Role), "only workers come and go; `make lab-down` removes all")
	}
	if err := l.strike(m); err != nil { // an Up would take it for a founder that is missing, and make it anew
		return err
	}
	if err := l.remove(ctx, m.Name); err != nil {
		return fmt.Errorf("lab %s: remove machine %s: %w", l.Name(), m.Name, err)
	}
	progress.say("machine %s is removed", m.Name)
	return l.forget(m)
}

// strike notes of a founder that it is to be no more; of a machine that was added the record says so
// by what the engine has.
func (l *Lab) strike(m Machine) error {
	if l.isAdded(m.Name) || slices.Contains(l.record.Removed, m.Name) {
		return nil
	}
	l.record.Removed = append(l.record.Removed, m.Name)
	return l.write()
}

// forget takes a worker without a container out of the record, and what is kept of it. Its name may
// come back, its keys do not.
func (l *Lab) forget(m Machine) error {
	if l.isAdded(m.Name) {
		l.record.Added = slices.DeleteFunc(l.record.Added, func(a added) bool { return a.Name == m.Name })
		if err := l.write(); err != nil {
			return err
		}
	}
	for _, path := range []string{l.path("hostkeys", m.Name), l.path("hidden", m.Address.String())} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_, err := l.writeKeys()
	return err
}

// sweep removes what an Add or a Remove that was killed has left.
func (l *Lab) sweep(ctx context.Context) error {
	for _, m := range l.removed() {
		if err := l.finish(ctx, m); err != nil {
			return fmt.Errorf("lab %s: what is left of machine %s: %w", l.Name(), m.Name, err)
		}
	}
	for _, m := range l.Nodes() {
		if !l.isAdded(m.Name) {
			continue
		}
		state, err := l.state(ctx, m.Name)
		if err == nil && state == "created" {
			err = l.remove(ctx, m.Name)
			state = ""
		}
		if err == nil && state == "" {
			err = l.forget(m)
		}
		if err != nil {
			return fmt.Errorf("lab %s: what is left of machine %s: %w", l.Name(), m.Name, err)
		}
	}
	return nil
}

// finish removes a founder that was struck, with what is kept of it, as far as that was not done.
func (l *Lab) finish(ctx context.Context, m Machine) error {
	state, err := l.state(ctx, m.Name)
	if err == nil && state != "" && state != "removing" {
		err = l.remove(ctx, m.Name)
	}
	if _, keyErr := os.Stat(l.path("hostkeys", m.Name)); err != nil || errors.Is(keyErr, fs.ErrNotExist) {
		return err
	}
	return l.forget(m)
}

// Containers returns the names of all containers of the lab that the engine has, machines or not,
// sorted: by their names, whatever their labels and the lab's record say.
func (l *Lab) Containers(ctx context.Context) ([]string, error) {
	out, err := l.engine.docker(ctx, nil, "ps", "--all", "--filter", "name=^"+l.network()+"-", "--format", "{{.Names}}")
	return slices.Sorted(slices.Values(strings.Fields(out))), err
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/skew"
)

// Fleet is the Machines of a kubeadm cluster.
type Fleet struct {
	// Reach returns the machine of a node, the same one each time; whoever made the
	// Fleet closes it. Nothing need be connected before it is needed.
	Reach func(node *corev1.Node, run string) (host.Machine, error)
	Clock clock.WithTicker
}

// Fetch takes the steps that change nothing that runs.
func (f *Fleet) Fetch(ctx context.Context, v Visit, out host.Output) error {
	p, err := f.open(ctx, v)
	if err != nil {
		return err
	}
	for _, s := range p.steps(kubeadm.Ahead) {
		done, err := s.Done(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Text, err)
		}
		if done {
			continue
		}
		if err := s.Do(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", s.Text, err)
		}
		switch done, err := s.Done(ctx); {
		case err != nil:
			return fmt.Errorf("%s: what came of it is not known: %w", s.Text, err)
		case !done:
			return fmt.Errorf("%s: it ended without an error, and yet there is something left to do", s.Text)
		}
	}
	return nil
}

// Open looks at the machine, for what is to be done there.
func (f *Fleet) Open(ctx context.Context, v Visit) (Procedure, error) { return f.open(ctx, v) }

func (f *Fleet) open(ctx context.Context, v Visit) (*kubeadmProcedure, error) {
	target, err := targetOf(v)
	if err != nil {
		return nil, err
	}
	machine, err := f.Reach(v.Node, v.Run)
	if err != nil {
		return nil, fmt.Errorf("reach the machine of node %s: %w", v.Node.Name, err)
	}
	if err := host.CheckSame(ctx, machine, v.Node); err != nil {
		return nil, err
	}
	p := &kubeadmProcedure{target: target, stage: v.Stage, machine: machine, clock: f.Clock}
	if err := p.look(ctx, partsNeeded); err != nil {
		return nil, err
	}
	p.all = kubeadm.Steps(target, p.state)
	return p, nil
}

// Members asks all of them at the same time, each from its own machine.
func (f *Fleet) Members(ctx context.Context, run string, nodes []*corev1.Node) (problems []string, err error) {
	found := make([]string, len(nodes))
	asking, both := errgroup.WithContext(ctx)
	for i, node := range nodes {
		asking.Go(func() error {
			machine, err := f.Reach(node, run)
			if err != nil {
				return fmt.Errorf("reach the machine of node %s: %w", node.Name, err)
			}
			// What its kubelet is like does not matter here.
			state, err := kubeadm.Observe(both, machine, kubeadm.Query{Parts: kubeadm.PartHealth, Kubelet: &kubeadm.Kubelet{}})
			if err != nil {
				return fmt.Errorf("ask etcd on node %s: %w", node.Name, err)
			}
			if h := state.Health; h != nil && h.Etcd.Problem != "" {
				found[i] = fmt.Sprintf("its member on node %s: %s", node.Name, h.Etcd.Problem)
			}
			return nil
		})
	}
	err = asking.Wait()
	return slices.DeleteFunc(found, func(problem string) bool { return problem == "" }), err
}

// StepAside asks the member on the machine of a node.
func (f *Fleet) StepAside(ctx context.Context, run string, node *corev1.Node) (to string, err error) {
	return stepAside(ctx, f.Reach, run, node)
}

func stepAside(ctx context.Context, reach func(*corev1.Node, string) (host.Machine, error), run string, node *corev1.Node) (to string, err error) {
	machine, err := reach(node, run)
	if err != nil {
		return "", fmt.Errorf("reach the machine of node %s: %w", node.Name, err)
	}
	own, found, err := etcd.LocateOwn(ctx, machine, node, etcdPatience)
	if err != nil || !found {
		return "", err
	}
	return own.StepAside(ctx)
}

// targetOf is a visit as package kubeadm has it.
func targetOf(v Visit) (kubeadm.Target, error) {
	version, err := skew.Parse(v.Stage.Version)
	if err != nil {
		return kubeadm.Target{}, err
	}
	t := kubeadm.Target{
		Run: v.Run, Node: v.Node.Name, Version: version, Role: kubeadm.Worker,
		Held: v.Upgrade.Held[v.Node.Name], ImageRepository: v.Upgrade.ImageRepository,
		IgnorePreflight: v.Upgrade.IgnorePreflight, Patches: v.Upgrade.Patches, Clean: v.Upgrade.Clean,
		KubeadmDone: v.Done(Step(kubeadm.StepUpgrade)), ExternalEtcd: v.Upgrade.ExternalEtcd,
	}
	if v.Begun != nil {
		t.Begun = v.Begun(Step(kubeadm.StepUpgrade))
	}
	switch v.Stage.Role {
	case FirstControlPlane:
		t.Role = kubeadm.FirstControlPlane
	case OtherControlPlane, ControlPlaneKubelet:
		t.Role = kubeadm.ControlPlane
	case Workers:
	}
	return t, t.Check()
}

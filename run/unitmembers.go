// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/etcd"
	"refit.dev/refit/host"
	"refit.dev/refit/units"
)

// member is what is known of a member of etcd that is a service.
type member struct {
	there, asked bool
	problem      string // "" if it is well, or if nobody knows
	why          error  // why it could not be asked; nil: it has told nobody where
}

// Members asks all members of etcd at the same time, each from its own machine: at its plain
// address, or as the API server beside it would. Of several, none may be unknown.
func (f *UnitFleet) Members(ctx context.Context, run string, nodes []*corev1.Node) (problems []string, err error) {
	found, members := make([]member, len(nodes)), 0
	asking, both := errgroup.WithContext(ctx)
	for i, node := range nodes {
		asking.Go(func() (err error) {
			machine, err := f.Reach(node, run)
			if err != nil {
				return fmt.Errorf("reach the machine of node %s: %w", node.Name, err)
			}
			if found[i], err = f.member(both, machine, node); err != nil {
				return fmt.Errorf("ask etcd on node %s: %w", node.Name, err)
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	for _, m := range found {
		if m.there {
			members++
		}
	}
	for i, m := range found {
		switch {
		case m.problem != "":
			problems = append(problems, fmt.Sprintf("its member on node %s: %s", nodes[i].Name, m.problem))
		case m.there && !m.asked && members > 1:
			why := "it tells that nowhere, and the API server beside it does not name it"
			if m.why != nil {
				why = m.why.Error()
			}
			problems = append(problems, fmt.Sprintf("whether its member on node %s is well cannot be asked: %s", nodes[i].Name, why))
		}
	}
	return problems, nil
}

// member asks one member. The error is of the connection.
func (f *UnitFleet) member(ctx context.Context, machine host.Machine, node *corev1.Node) (m member, err error) {
	answer, there, err := units.Health(ctx, machine, units.Etcd)
	m = member{there: there, asked: answer.Asked, problem: answer.Problem}
	if err != nil || !there || m.asked {
		return m, err
	}
	m.problem, m.asked, m.why = askMember(ctx, machine, node)
	if ctx.Err() != nil || host.Temporary(m.why) {
		return m, m.why
	}
	return m, nil
}

func askMember(ctx context.Context, machine host.Machine, node *corev1.Node) (problem string, asked bool, err error) {
	return etcd.AskMember(ctx, machine, node, etcdPatience)
}

// findMember finds out whether the new etcd can be asked as the API server beside it would, where
// that does not say itself how it is. The error is of the connection.
func (p *unitsProcedure) findMember(ctx context.Context) error {
	u, there := p.state.Get(units.Etcd)
	if _, wanted := p.want[units.Etcd]; !there || !wanted || u.Health.Asked {
		return nil
	}
	_, asked, err := askMember(ctx, p.machine, p.node)
	if ctx.Err() != nil || host.Temporary(err) {
		return fmt.Errorf("ask etcd: %w", err)
	}
	if asked {
		p.takesPart = func(ctx context.Context) (string, error) {
			why, _, err := askMember(ctx, p.machine, p.node)
			return why, err
		}
	}
	return nil
}

// StepAside asks the member on the machine of a node.
func (f *UnitFleet) StepAside(ctx context.Context, run string, node *corev1.Node) (to string, err error) {
	return stepAside(ctx, f.Reach, run, node)
}

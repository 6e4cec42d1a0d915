// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// work is what a run does to the machines of its nodes. Everything around it is
// the same for all runs.
type work interface {
	// todo returns what is to be done in one visit to a node. It looks at no
	// journal: acts find out themselves what is left of them.
	todo(ctx context.Context, w *worker) (todo, error)
}

// act is a part of the work on a node. It records what it does.
type act func(ctx context.Context) error

// todo is the work on one node.
type todo struct {
	// serving is done while the node still has its pods.
	serving []act
	// empty is done when the node is cordoned and empty; inPlace says that it is neither
	// cordoned nor drained for that.
	empty   []act
	inPlace bool
	// departs: the node does not come back, so that it is neither waited for nor uncordoned.
	departs bool
	// ready returns what a node lacks that is Ready otherwise, or "".
	ready func(*corev1.Node) string
	// proof is done when the node is Ready, before it is uncordoned.
	proof []act
	// after is done when its workloads are back.
	after []act
	// close gives up what the acts needed.
	close func()
}

// maintenance is the work of refit maintain: a command or a reboot.
type maintenance struct{ hosts Hosts }

func (m maintenance) todo(_ context.Context, w *worker) (todo, error) {
	perform := m.command
	if w.spec.Reboot {
		perform = m.reboot
	}
	return todo{
		empty: []act{func(ctx context.Context) error { return perform(ctx, w) }},
		ready: func(node *corev1.Node) string {
			if w.spec.Reboot && node.Status.NodeInfo.BootID == w.status.BootID {
				return "it has not rebooted: its boot ID is still " + w.status.BootID
			}
			return ""
		},
		close: func() {},
	}, nil
}

// worked tells whether the work on the machine is done: the node is not taken out again.
func (s *Spec) worked(n *NodeStatus) bool {
	switch {
	case s.Upgrade != nil:
		return n.Steps[StepMachine] == Done
	case s.Reboot:
		return n.Steps[StepReboot] == Done
	}
	return n.Steps[StepCommand] == Done
}

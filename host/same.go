// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
)

// CheckSame compares the boot of a machine with the one that its Node tells. The address
// at which a machine is reached proves nothing: a kubelet writes its own into its Node,
// addresses are given to other machines, and inventories have slips. A Node that is not
// Ready, or tells of no boot, tells nothing: its machine is taken for the right one. The
// error names the node; it is one that passes by itself (see Temporary) if the machine
// could not be asked.
func CheckSame(ctx context.Context, m Machine, node *corev1.Node) error {
	want := node.Status.NodeInfo.BootID
	if want == "" || !cluster.Ready(node) {
		return nil
	}
	has, err := m.BootID(ctx)
	if err != nil {
		return fmt.Errorf("ask the machine of node %s which one it is: %w", node.Name, err)
	}
	if has != want {
		return hint.Wrap(fmt.Errorf("the machine that answers as node %s is not that node's: its boot ID is %q, and the node, which is Ready, has %q", node.Name, has, want),
			"compare the node's address (kubectl get node %s -o wide), and the inventory if there is one, with the machine; if it was rebooted a moment ago, try again", node.Name)
	}
	return nil
}

// Bound is the Host of a node on its machine: before each command, and before a reboot,
// it is asked whether it is the node's, see CheckSame.
func Bound(m Machine, node *corev1.Node) Host { return bound{m, node} }

type bound struct {
	machine Machine
	node    *corev1.Node
}

// Run answers with an error that is ErrNotStarted if the machine is not the node's.
func (b bound) Run(ctx context.Context, command string, out Output) error {
	if err := CheckSame(ctx, b.machine, b.node); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStarted, err)
	}
	return b.machine.Run(ctx, command, out)
}

// Reboot is content with a machine that has obeyed this request: its Node may not tell of
// the new boot yet, and the request names the node.
func (b bound) Reboot(ctx context.Context, id string) error {
	if err := CheckSame(ctx, b.machine, b.node); err != nil {
		now, bootErr := b.machine.BootID(ctx)
		before, askedErr := readAsked(ctx, b.machine)
		if bootErr == nil && askedErr == nil && before.obeyed(id, now) {
			return nil
		}
		return err
	}
	return b.machine.Reboot(ctx, id)
}

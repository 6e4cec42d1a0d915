// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/report"
)

// marking is what cordon and uncordon have in common.
type marking struct {
	verb, done, note, reason string
	apply                    func(ctx context.Context, client kubernetes.Interface, node *corev1.Node, dryRun drain.DryRun) (changed bool, err error)
}

func newCordonCommand(a *app) *cobra.Command {
	m := marking{verb: "cordon", done: "cordoned", reason: drain.NoteCordoned, note: "cordoned by hand", apply: cordonByHand}
	cmd := a.markingCommand(m)
	cmd.Short = "Mark nodes unschedulable"
	cmd.Long = "Mark nodes unschedulable, so that no new pods come to them, and record on them that it was\n" +
		"refit, by hand. Pods that are there stay."
	cmd.Example = "  # No new pods for node-01\n" +
		"  refit cordon node-01"
	return cmd
}

func newUncordonCommand(a *app) *cobra.Command {
	m := marking{verb: "uncordon", done: "uncordoned", reason: drain.NoteUncordoned, note: "uncordoned by hand", apply: uncordonByHand}
	cmd := a.markingCommand(m)
	cmd.Short = "Mark nodes schedulable again"
	cmd.Long = "Mark nodes schedulable again, whoever cordoned them, and take refit's mark off them. A node that\n" +
		"refit drain --confirm-node-is-off had tainted as out of service loses that taint if it is Ready."
	cmd.Example = "  # Let pods come to node-01 again\n" +
		"  refit uncordon node-01"
	return cmd
}

func cordonByHand(ctx context.Context, client kubernetes.Interface, node *corev1.Node, dryRun drain.DryRun) (bool, error) {
	mark := cluster.Mark{Since: clock.RealClock{}.Now()}
	switch dryRun {
	case drain.DryRunClient:
		return !node.Spec.Unschedulable, nil
	case drain.DryRunServer:
		return drain.TryCordon(ctx, client, node, mark)
	case drain.DryRunNone:
	}
	return drain.Cordon(ctx, client, node, mark)
}

func uncordonByHand(ctx context.Context, client kubernetes.Interface, node *corev1.Node, dryRun drain.DryRun) (bool, error) {
	if dryRun == drain.DryRunClient {
		return node.Spec.Unschedulable, nil
	}
	return drain.UncordonByHand(ctx, client, node, dryRun == drain.DryRunServer)
}

func (a *app) markingCommand(m marking) *cobra.Command {
	var (
		nodes  nodeArgs
		dryRun string
	)
	cmd := &cobra.Command{
		Use:               m.verb + " NODE... | -l SELECTOR",
		ValidArgsFunction: a.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, selector, err := nodes.parse(args)
			if err != nil {
				return err
			}
			how, err := parseDryRun(dryRun)
			if err != nil {
				return err
			}
			return a.mark(cmd.Context(), m, names, selector, how)
		},
	}
	nodes.add(cmd)
	dryRunFlag(cmd, &dryRun)
	a.yesFlag(cmd)
	return cmd
}

// tellService says what became of the taint with which refit had declared a node out
// of service.
func (a *app) tellService(node *corev1.Node, suffix string) error {
	_, marked := cluster.OutOfServiceMarkOf(node)
	switch {
	case drain.StaleOutOfService(node):
		_, err := fmt.Fprintf(a.Out, "node/%s in-service%s\n", report.Printable(node.Name), suffix)
		return err
	case marked:
		fmt.Fprintf(a.ErrOut, "warning: node %s is not Ready, and keeps the taint %s that refit has set: nothing can run there\nhint: when it is Ready again: refit uncordon %s\n",
			report.Printable(node.Name), corev1.TaintNodeOutOfService, report.Printable(node.Name))
	default:
		a.tellForeignTaint(node)
	}
	return nil
}

// tellForeignTaint warns of an out-of-service taint that refit has not set, and so does
// not take off: it goes on deleting pods, cordoned or not.
func (a *app) tellForeignTaint(node *corev1.Node) {
	i := slices.IndexFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
	if i < 0 {
		return
	}
	t := &node.Spec.Taints[i]
	does := "pods that do not tolerate it do not come there"
	if t.Effect == corev1.TaintEffectNoExecute {
		does = "pods that do not tolerate it are deleted there"
	}
	when := "if its machine works"
	if !cluster.Ready(node) {
		when = "when it is Ready again"
	}
	name := report.Printable(node.Name)
	fmt.Fprintf(a.ErrOut, "warning: node %s keeps the taint %s, which refit has not set: %s\nhint: %s: kubectl taint nodes %s %s-\n",
		name, t.Key, does, when, name, t.Key)
}

func (a *app) mark(ctx context.Context, m marking, names []string, selector labels.Selector, dryRun drain.DryRun) error {
	_, client, err := a.client()
	if err != nil {
		return err
	}
	nodes, err := resolve(ctx, client, names, selector)
	if err != nil {
		return interrupted(ctx, err)
	}
	if selector != nil && dryRun == drain.DryRunNone {
		fmt.Fprintf(a.ErrOut, "%s %s\n", m.verb, report.Printable(list(nodes)))
		if err := a.confirm(ctx); err != nil {
			return err
		}
	}
	suffix := map[drain.DryRun]string{drain.DryRunClient: " (dry run)", drain.DryRunServer: " (server dry run)"}[dryRun]
	var errs []error
	for _, node := range nodes {
		changed, err := m.apply(ctx, client, node, dryRun)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		done := m.done
		if !changed {
			done = "already " + m.done
		} else if dryRun == drain.DryRunNone {
			drain.Note(ctx, client, clock.RealClock{}.Now(), node, m.reason, m.note)
		}
		if _, err := fmt.Fprintf(a.Out, "node/%s %s%s\n", report.Printable(node.Name), done, suffix); err != nil {
			return err
		}
		if err := a.tellService(node, suffix); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err != nil {
		if ctx.Err() != nil {
			return exitWith(exitUnfinished, err)
		}
		return hint.Wrap(err, "the other nodes are %s, as listed; refit needs to get and patch nodes", m.done)
	}
	return nil
}

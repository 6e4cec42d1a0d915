// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"refit.dev/refit/cluster"
	"refit.dev/refit/report"
	"refit.dev/refit/toleration"
)

func newEvictionTimeoutCommand(a *app) *cobra.Command {
	scope := &timeoutScope{}
	cmd := &cobra.Command{
		Use:   "eviction-timeout",
		Short: "Show and set how long pods stay bound to a lost node",
		Long: "A node that is lost gets a taint, and each of its pods is deleted once its toleration of that\n" +
			"taint runs out. Pods whose template says nothing get a time from the API server when they are\n" +
			"created, 5 minutes unless its flags say otherwise. These commands show which times are in\n" +
			"force, and change them. What a lost node leads to is told by refit outage.",
		Example: "  # Which times are in force, and which workloads differ?\n" +
			"  refit eviction-timeout get\n\n" +
			"  # The pods of this Deployment are to be replaced a minute after their node was lost\n" +
			"  refit eviction-timeout set 1m -n shop --workload deployment/web\n\n" +
			"  # What would have to be changed for all new pods?\n" +
			"  refit eviction-timeout set 1m",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.evictionTimeout(cmd, scope) },
	}
	scope.add(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	cmd.AddCommand(newEvictionTimeoutGetCommand(a), newEvictionTimeoutSetCommand(a))
	return cmd
}

// timeoutScope is which workloads are shown: those of the namespace that is given, as
// kubectl has it, but of all namespaces if none is.
type timeoutScope struct {
	selector string
	all      bool
}

func (x *timeoutScope) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&x.selector, "selector", "l", "", "label selector of the workloads to show")
	cmd.Flags().BoolVarP(&x.all, "all-namespaces", "A", false, "workloads of all namespaces, which is so as well without --namespace")
}

func (x *timeoutScope) parse(cmd *cobra.Command, namespace string) (toleration.Scope, error) {
	var in toleration.Scope
	if cmd.Flags().Changed("namespace") {
		if x.all {
			return in, usageError(errors.New("--all-namespaces and --namespace exclude each other"))
		}
		in.Namespace = namespace
	}
	if cmd.Flags().Changed("selector") {
		selector, err := parseWorkloadSelector(x.selector)
		if err != nil {
			return in, usageError(err)
		}
		in.Labels = selector
	}
	return in, nil
}

func newEvictionTimeoutGetCommand(a *app) *cobra.Command {
	scope := &timeoutScope{}
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Show the defaults in force and the workloads that differ",
		Long: "Show for how long pods tolerate a node that is not ready or unreachable: the defaults that the\n" +
			"API server adds to new pods, with where each is from, the workloads whose pod template says\n" +
			"otherwise, and pods that were created when other times were in force. Nothing is changed.\n\n" +
			"The flags of API servers are read from their pods in namespace kube-system. In a cluster whose\n" +
			"control plane is not to be seen the defaults of the version are assumed, and that is said.",
		Example: "  # Which times are in force?\n" +
			"  refit eviction-timeout get\n\n" +
			"  # Those of a namespace alone\n" +
			"  refit eviction-timeout get -n shop\n\n" +
			"  # Workloads whose pods stay on a lost node for ever\n" +
			"  refit eviction-timeout get -o json | jq -r '.workloads[] | select(.unreachable.seconds == null) | .name'",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.evictionTimeout(cmd, scope) },
	}
	scope.add(cmd)
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

func (a *app) evictionTimeout(cmd *cobra.Command, scope *timeoutScope) error {
	in, err := scope.parse(cmd, *a.kube.Namespace)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	_, client, err := a.client()
	if err != nil {
		return err
	}
	snapshot, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindPod, cluster.KindWorkload))
	if err != nil {
		return interrupted(ctx, err)
	}
	cronJobs, err := toleration.CronJobs(ctx, client)
	if err != nil && !apierrors.IsForbidden(err) {
		return interrupted(ctx, err)
	}
	survey := toleration.Survey(snapshot, cronJobs, in)
	if err != nil {
		survey.Remarks = append(survey.Remarks, "CronJobs may not be read by this user, so what their templates say is not known (allow list of cronjobs.batch)")
	}
	if a.output != "text" {
		return report.WriteData(a.Out, a.output, survey)
	}
	if err := writeEvictionTimeouts(a.Out, survey); err != nil {
		return err
	}
	if in.Namespace != "" && survey.Same+survey.DaemonSets+len(survey.Workloads) == 0 { // as kubectl get says it
		fmt.Fprintf(a.ErrOut, "No workloads found in %s namespace.\n", report.Printable(in.Namespace))
	}
	return nil
}

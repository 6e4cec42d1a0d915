// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// runKwok runs kwok's command with args. Before, it removes the node leases
// that an earlier kwok of the twin held: every kwok has a new identity, and
// would leave the nodes of its predecessor alone until their leases expired.
// The node controller goes by what it saw last of a lease that is missing.
func runKwok(args []string) error {
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx := signals.SetupSignalContext()
	ctx, _ = kwoklog.InitFlags(ctx, flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err != nil {
		return fmt.Errorf("read kwok's configuration: %w", err)
	}
	command := kwok.NewCommand(ctx)
	// Cobra would add a flag --version, of which the other programs in this
	// binary have one of another type in the process's flags.
	command.Version = ""
	command.PersistentFlags().AddFlagSet(flags)
	command.SetArgs(args)
	if err := command.ParseFlags(args); err != nil {
		return err
	}
	if path, err := command.Flags().GetString("kubeconfig"); err == nil && command.Flags().Changed("kubeconfig") {
		if err := removeLeases(ctx, path); err != nil {
			return err
		}
	}
	return command.ExecuteContext(ctx)
}

// allowedPoll is how often it is tried whether the role is there.
const allowedPoll = 50 * time.Millisecond

// removeLeases deletes the leases of all nodes.
func removeLeases(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("remove node leases: %w", err)
	}
	cfg.QPS, cfg.Burst = -1, 0 // no client-side limit, this is our own API server
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("remove node leases: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	// In a new twin the role that allows this comes a moment after the API server.
	list, err := leases.List(ctx, metav1.ListOptions{})
	for apierrors.IsForbidden(err) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(allowedPoll):
		}
		list, err = leases.List(ctx, metav1.ListOptions{})
	}
	if err != nil {
		return fmt.Errorf("remove node leases: %w", err)
	}
	for _, lease := range list.Items {
		if err := leases.Delete(ctx, lease.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove node lease %s: %w", lease.Name, err)
		}
	}
	return nil
}

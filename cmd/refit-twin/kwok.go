// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// runKwok runs kwok's command with args, once its role allows it to list nodes.
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
		if err := awaitRole(ctx, path); err != nil {
			return err
		}
	}
	return command.ExecuteContext(ctx)
}

const (
	// allowedPoll is how often it is tried whether the role is there.
	allowedPoll = 50 * time.Millisecond
	// allowedWait is how long at most.
	allowedWait = time.Minute
)

// awaitRole waits until the client may list nodes. In a new twin the role comes
// a moment after the API server, and kwok would wait for a second or two.
func awaitRole(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("wait for the kubelets' role: %w", err)
	}
	cfg.QPS, cfg.Burst = -1, 0 // no client-side limit, this is our own API server
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("wait for the kubelets' role: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, allowedWait)
	defer cancel()
	for {
		_, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("wait for the kubelets' role: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the kubelets' role: %w", err)
		case <-time.After(allowedPoll):
		}
	}
}

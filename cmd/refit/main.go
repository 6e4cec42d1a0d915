// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command refit takes a Kubernetes cluster through maintenance. Installed as
// kubectl-refit it is a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	// Credential plugins: exec, OIDC and the like, as kubectl has them.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"refit.dev/refit/internal/cli"
)

func main() {
	os.Exit(run())
}

// run returns instead of exiting so that what is deferred runs.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C asks for an orderly end; a second one is not caught, and ends at once.
	context.AfterFunc(ctx, stop)
	// Whoever reads what refit writes may go away, as head does; that is no
	// reason to leave nodes half drained. Caught, not ignored: commands that
	// refit runs would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	return cli.Run(ctx, streams, os.Args[0], os.Args[1:])
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command refit takes a Kubernetes cluster through maintenance. Installed as
// kubectl-refit it is a plugin of kubectl.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	// Credential plugins: exec, OIDC and the like, as kubectl has them.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"refit.dev/refit/internal/cli"
)

func main() {
	os.Exit(run())
}

// run returns instead of exiting so that what is deferred runs.
func run() int {
	// What client-go logs by itself goes nowhere: what matters of it is in the errors that it returns.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	endOnHangup(cancel)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
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

// endOnHangup makes a terminal that went away an orderly end, as Ctrl-C is,
// however often it is told (a shell and the kernel both do), and leaves alone a
// program that was started with nohup.
func endOnHangup(end func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		<-hangup
		end()
	}()
}

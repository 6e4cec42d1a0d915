// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command inside is what runs in the containers and pods of a lab beside Debian
// and Kubernetes: the store of packages and images, the answering server whose
// pods prove a cluster, and the program of the pause image.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) == 4 && args[0] == "store":
		s, err := newStore(args[1], args[2])
		if err != nil {
			return err
		}
		return serve(ctx, args[3], s)
	case len(args) == 1 && args[0] == "answer":
		return serve(ctx, ":8080", answer())
	case len(args) == 1 && args[0] == "pause":
		return pause(ctx)
	case len(args) == 2 && args[0] == "pause" && args[1] == "-v":
		// kubeadm's check before an upgrade runs this as a Job, and waits for its end.
		fmt.Println("the lab's pause")
		return nil
	default:
		return errors.New("want one of: store CONTENT HIDDEN ADDRESS, answer, pause [-v]")
	}
}

// serve answers requests until ctx ends; those that are being answered then are
// answered to their end.
func serve(ctx context.Context, address string, h http.Handler) error {
	server := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: time.Minute}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

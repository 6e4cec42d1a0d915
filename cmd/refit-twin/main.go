// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command refit-twin is a Kubernetes control plane in one file. Its first argument says
// which program it is: kube-apiserver, kube-controller-manager, kube-scheduler,
// etcd and kwok (simulated kubelets) take the arguments of the programs of that
// name, kubectl too; `supervise --dir DIR` runs what DIR/twin.json lists as
// children of itself and plays the machines under the simulated kubelets.
//
// It is its own module because k8s.io/kubernetes must be replaced onto the
// published staging modules. It shares no Go code with the refit module - a
// change there would otherwise rebuild all of Kubernetes - only the format of
// twin.json, which package refit.dev/refit/twin writes.
//
// Build it from this directory (about ten minutes when nothing is cached, on
// two cores); without the ldflags the components report a version that clients
// and skew checks cannot use:
//
//	go build -trimpath -ldflags "-s -w \
//	  -X k8s.io/component-base/version.gitVersion=v1.37.2 \
//	  -X k8s.io/component-base/version.gitMajor=1 \
//	  -X k8s.io/component-base/version.gitMinor=37" -o ../../bin/refit-twin .
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"

	"refit.dev/refit/cmd/refit-twin/internal/supervise"
)

const usage = `usage: refit-twin PROGRAM [ARGUMENT...]

PROGRAM is one of
  kube-apiserver, kube-controller-manager, kube-scheduler, etcd, kwok, kubectl
  supervise --dir DIR   run the control plane that DIR/twin.json describes

It is started by "refit twin up"; only kubectl is of use by itself.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := supervise.HoldLifeline(); err != nil {
		fmt.Fprintf(os.Stderr, "refit-twin %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	// The programs below look at os.Args as if they had been called by their own names.
	os.Args = os.Args[1:]
	switch program := os.Args[0]; program {
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "etcd":
		etcdmain.Main(os.Args)
	case "kwok":
		exitOn(runKwok(os.Args[1:]))
	case "kubectl":
		os.Exit(cli.Run(kubectl.NewDefaultKubectlCommand()))
	case "supervise":
		exitOn(runSupervise(os.Args[1:]))
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "refit-twin: no program %q\n\n%s", program, usage)
		os.Exit(2)
	}
}

func runSupervise(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the twin")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() != 0 {
		return errors.New("want: supervise --dir DIR")
	}
	return supervise.Run(ctx, *dir)
}

// exitOn ends the process with code 1 when there is an error to tell.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "refit-twin %s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

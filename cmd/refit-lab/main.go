// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Command refit-lab brings labs up and down: disposable clusters of real
// machines in containers. It is run from the source tree, by the Makefile. Its verb
// check writes why the machine cannot carry a lab, and nothing if it can; its verb
// machine makes and removes single machines for refit, see `machine provider`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/lab"
)

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintln(os.Stderr, "hint:", h)
		}
		os.Exit(1)
	}
}

// mainErr returns instead of exiting so that what is deferred runs.
func mainErr() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C is not caught
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	begin := time.Now()
	progress := func(line string) { fmt.Fprintf(stderr, "%4.0fs %s\n", time.Since(begin).Seconds(), line) }
	flags := flag.NewFlagSet("refit-lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var opts lab.Options
	flags.StringVar(&opts.Name, "name", lab.DefaultName, "the lab's name")
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "up":
		flags.IntVar(&opts.ControlPlanes, "control-planes", 1, "how many control planes; several get a load balancer in front")
		flags.IntVar(&opts.Workers, "workers", 2, "how many workers")
		flags.StringVar((*string)(&opts.Flavour), "flavour", "kubeadm", "how the cluster is put together, one of "+strings.Join(lab.Flavours(), ", "))
		flags.StringVar(&opts.Version, "version", lab.Versions()[0], "of Kubernetes, one of "+strings.Join(lab.Versions(), ", "))
		if err := parse(flags, args); err != nil {
			return err
		}
		l, err := lab.Up(ctx, opts, progress)
		if err != nil {
			return err
		}
		progress(fmt.Sprintf("lab %s is up", l.Name()))
		fmt.Fprintf(stdout, "export KUBECONFIG=%s\nssh -F %s %s\n", l.Kubeconfig(), l.SSHConfig(), l.Machines()[0].Name)
		return nil
	case "down":
		all := flags.Bool("all", false, "remove every lab, their engine and its data; the cache stays")
		if err := parse(flags, args); err != nil {
			return err
		}
		if *all {
			return lab.DownAll(ctx, progress)
		}
		return lab.Down(ctx, opts.Name, progress)
	case "check":
		if err := parse(flags, args); err != nil {
			return err
		}
		why, err := lab.Check()
		if err == nil && len(why) > 0 {
			fmt.Fprintln(stdout, strings.Join(why, "; "))
		}
		return err
	case "status":
		if err := parse(flags, args); err != nil {
			return err
		}
		list, err := lab.List(ctx)
		if err != nil {
			return err
		}
		show(stdout, list)
		return nil
	case "machine":
		return machine(ctx, args, stdin, stdout, stderr, progress)
	}
	return errors.New("want one of: up, down, status, check, machine")
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func show(w io.Writer, list []lab.Status) {
	if len(list) == 0 {
		fmt.Fprintln(w, "there is no lab; make lab-up makes one")
	}
	for i, s := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "lab %s: %s\n", s.Name, s.Options)
		if s.Kubeconfig != "" {
			fmt.Fprintf(w, "kubeconfig: %s\nssh_config: %s\nstore:      %s\n", s.Kubeconfig, s.SSHConfig, s.Store)
		}
		if s.Trouble != "" {
			fmt.Fprintln(w, "trouble:", s.Trouble)
		}
		if len(s.Machines) == 0 {
			continue
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "MACHINE\tROLE\tADDRESS\tSTATE\tNODE\tKUBELET")
		for _, m := range s.Machines {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Role, m.Address, m.State, m.Node, m.Version)
		}
		_ = t.Flush()
	}
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"refit.dev/refit/report"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/scenario"
	"refit.dev/refit/twin/simulated"
)

// maxWait is how long twin up waits by default for what cannot be ready.
const maxWait = 5 * time.Minute

func newTwinCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "twin",
		Short: "Run embedded clusters to try things on",
		Long: "A twin is a cluster on this machine: a real API server, controller manager, scheduler and\n" +
			"etcd, with nodes whose kubelets are simulated. It needs no container, no root and about\n" +
			"five seconds. Budgets, admission, scheduling and taints are the real thing. The processes\n" +
			"of the shop's 12 nodes took 1.2 GiB of memory, and 1.35 GiB once all nodes had been\n" +
			"maintained (the sum of RSS in ps, which counts what they share for each of them).\n\n" +
			"Labels and annotations tell its machines and pods what to do, in manifests or at any time:\n" +
			"  " + simulated.ReadyAfterAnnotation + "=30s|never        pod: from scheduled to Ready\n" +
			"  " + simulated.TerminateAfterAnnotation + "=30s|never    pod: from deleted to gone\n" +
			"  " + simulated.CompleteAfterAnnotation + "=30s|never     pod of a Job: from Ready to Succeeded\n" +
			"  " + simulated.RebootAnnotation + "=BOOT-ID               node: reboot, to come back with this boot ID\n" +
			"  " + simulated.RebootTimeAnnotation + "=30s|never        node: how long that takes\n\n" +
			"A pod without a readiness probe is Pending until ready-after is over, and then Running and\n" +
			"Ready at once. One with a readiness probe is Running at once, and Ready when the time is\n" +
			"over. With never, both are Running at once and not Ready.",
		Example: "  # Twelve nodes with a web shop on them\n" +
			"  eval $(refit twin up --scenario shop)\n\n" +
			"  # One that gives lost machines up within half a minute\n" +
			"  refit twin up --node-lease-duration 8s --node-monitor-grace-period 12s --default-toleration 15s\n\n" +
			"  # What is there?\n" +
			"  refit twin status\n\n" +
			"  # Lose a machine\n" +
			"  refit twin node fail node-03\n\n" +
			"  refit twin down",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTwinUpCommand(a), newTwinDownCommand(a), newTwinStatusCommand(a), newTwinKubeconfigCommand(a), newTwinNodeCommand(a))
	return cmd
}

func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", twin.DefaultName, "the twin's name")
	_ = cmd.RegisterFlagCompletionFunc("name", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := twin.List()
		names := make([]string, len(all))
		for i, t := range all {
			names[i] = t.Name()
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func newTwinUpCommand(a *app) *cobra.Command {
	var (
		opts    twin.Options
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring a twin up",
		Long: "Bring a twin up, or start it again on its data if its processes are gone. A twin that runs\n" +
			"and was made with the same flags is left as it is. What is printed, a shell can evaluate.\n\n" +
			"A scenario is a file of Kubernetes manifests, or one of those that are built in: " + strings.Join(scenario.Names(), ", ") + ".",
		Example: "  refit twin up --nodes 50 --zones 3\n" +
			"  refit twin up --name old --kubernetes 1.35 --scenario my-cluster.yaml --wait",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.twinUp(cmd.Context(), opts, timeout) },
	}
	nameFlag(cmd, &opts.Name)
	f := cmd.Flags()
	f.IntVar(&opts.Nodes, "nodes", 0, "how many nodes (default what the scenario wants, or 3)")
	f.IntVar(&opts.Zones, "zones", 0, "how many zones they are spread over (default what the scenario wants, or 3)")
	f.StringVar(&opts.Kubernetes, "kubernetes", "", "the minor version to behave as: "+strings.Join(twin.Versions(), ", ")+" (default the newest)")
	f.StringVar(&opts.Scenario, "scenario", "", "what to put on it: "+strings.Join(scenario.Names(), ", ")+", or a file of manifests")
	f.StringVar(&opts.NodeCPU, "node-cpu", "4", "allocatable CPU of a node")
	f.StringVar(&opts.NodeMemory, "node-memory", "16Gi", "allocatable memory of a node")
	f.IntVar(&opts.NodePods, "node-pods", 110, "how many pods a node takes")
	f.DurationVar(&opts.PodReady, "pod-ready", time.Second, "a pod's time from scheduled to Ready")
	f.DurationVar(&opts.PodTermination, "pod-termination", time.Second, "a pod's time from deleted to gone")
	f.DurationVar(&opts.JobComplete, "job-complete", 30*time.Second, "the time from Ready to Succeeded of a Job's pod")
	f.DurationVar(&opts.VolumeDetach, "volume-detach", 0, "the time that the detachment of a volume takes")
	f.DurationVar(&opts.Reboot, "reboot", 10*time.Second, "the time that a reboot takes")
	f.DurationVar(&opts.NodeLease, "node-lease-duration", 0, "how long the lease of a node holds, which its kubelet renews each quarter of that (default 40s)")
	f.DurationVar(&opts.NodeMonitorGracePeriod, "node-monitor-grace-period", 0, "how long a node may be silent until it is taken for lost (default 50s)")
	f.DurationVar(&opts.DefaultToleration, "default-toleration", 0, "how long pods that do not say so stay bound to a lost node (default 5m0s)")
	f.BoolVar(&opts.StaticPods, "static-pods", false, "show the control plane as static pods of the first node, as in a cluster made by kubeadm; it runs on whatever becomes of that node")
	f.StringArrayVar(&opts.APIServerArgs, "apiserver-arg", nil, "another argument for kube-apiserver (can be repeated)")
	f.StringArrayVar(&opts.ControllerManagerArgs, "controller-manager-arg", nil, "another argument for kube-controller-manager (can be repeated)")
	f.StringArrayVar(&opts.SchedulerArgs, "scheduler-arg", nil, "another argument for kube-scheduler (can be repeated)")
	f.BoolVar(&opts.Wait, "wait", false, "wait until the workloads of the scenario are ready")
	f.DurationVar(&timeout, "timeout", maxWait, "give up after this time")
	a.outputFlag(cmd, "text", "json", "yaml")
	_ = cmd.RegisterFlagCompletionFunc("kubernetes", cobra.FixedCompletions(twin.Versions(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(scenario.Names(), cobra.ShellCompDirectiveDefault))
	return cmd
}

func (a *app) twinUp(ctx context.Context, opts twin.Options, timeout time.Duration) error {
	if timeout <= 0 {
		return usageError(fmt.Errorf("--timeout %s: want a time above 0", timeout))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s (--timeout): %w", timeout, context.DeadlineExceeded))
	defer cancel()
	began := time.Now()
	tw, err := twin.Up(ctx, opts, a.say)
	if err != nil {
		return twinError(err)
	}
	if a.output != "text" {
		status, err := tw.Status(ctx)
		if err != nil {
			return err
		}
		return report.WriteData(a.Out, a.output, status)
	}
	a.say(fmt.Sprintf("twin %s is up after %s", tw.Name(), time.Since(began).Round(100*time.Millisecond)))
	_, err = fmt.Fprintf(a.Out, "export KUBECONFIG=%s\n", shellQuote(tw.Kubeconfig()))
	return err
}

// say tells progress, which is not data.
func (a *app) say(line string) { fmt.Fprintln(a.ErrOut, report.Printable(line)) }

// twinError gives an error of package twin its exit code.
func twinError(err error) error {
	switch {
	case errors.Is(err, twin.ErrInvalid), errors.Is(err, twin.ErrNotFound):
		return usageError(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return exitWith(exitUnfinished, err)
	}
	return err
}

// shellQuote makes s one word of a shell.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func newTwinDownCommand(a *app) *cobra.Command {
	var (
		name string
		all  bool
	)
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "End a twin and remove its data",
		Example: "  refit twin down\n  refit twin down --name old\n  refit twin down --all",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all && cmd.Flags().Changed("name") {
				return usageError(errors.New("--name and --all do not go together: want one of them"))
			}
			if !all {
				return a.twinDown(cmd.Context(), name)
			}
			twins, err := twin.List()
			var errs []error
			for _, t := range twins {
				errs = append(errs, a.twinDown(cmd.Context(), t.Name()))
			}
			return errors.Join(append(errs, err)...)
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().BoolVar(&all, "all", false, "end all twins")
	return cmd
}

func (a *app) twinDown(ctx context.Context, name string) error {
	if err := twin.Down(ctx, name); err != nil {
		return twinError(err)
	}
	a.say(fmt.Sprintf("twin %s is gone", name))
	return nil
}

func newTwinKubeconfigCommand(a *app) *cobra.Command {
	var (
		name       string
		maintainer bool
	)
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of a twin's kubeconfig",
		Example: "  export KUBECONFIG=$(refit twin kubeconfig)\n\n" +
			"  # With no more rights than refit needs\n" +
			"  refit check --kubeconfig $(refit twin kubeconfig --maintainer)",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			tw, err := twin.Open(name)
			if err != nil {
				return twinError(err)
			}
			path := tw.Kubeconfig()
			if maintainer {
				path = tw.MaintainerKubeconfig()
			}
			_, err = fmt.Fprintln(a.Out, path)
			return err
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().BoolVar(&maintainer, "maintainer", false, "that of a user who may do what refit needs and nothing else")
	return cmd
}

func newTwinNodeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Break, repair and reboot the machines of a twin",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newTwinMachineCommand(a, "fail", "Let machines die without a word, until they are recovered", "failed", (*twin.Twin).FailNode),
		newTwinMachineCommand(a, "recover", "Let machines work again that failed or do not come back from a reboot", "recovered", (*twin.Twin).RecoverNode),
		newTwinMachineCommand(a, "reboot", "Reboot machines, as they are: nothing is drained", "rebooting",
			func(t *twin.Twin, ctx context.Context, node string) error {
				_, err := t.RebootNode(ctx, node)
				return err
			}),
	)
	return cmd
}

func newTwinMachineCommand(a *app, verb, short, done string, do func(*twin.Twin, context.Context, string) error) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     verb + " NODE...",
		Short:   short,
		Example: "  refit twin node " + verb + " " + twin.NodeName(0, 1),
		Args: usageArgs(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no node is given: name one or more")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			tw, err := twin.Open(name)
			if err != nil {
				return twinError(err)
			}
			for _, node := range args {
				if err := do(tw, cmd.Context(), node); err != nil {
					return twinError(err)
				}
				fmt.Fprintf(a.Out, "node/%s %s\n", report.Printable(node), done)
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			tw, err := twin.Open(name)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			*a.kube.KubeConfig = tw.Kubeconfig()
			return a.completeNodes(cmd, args, "")
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"refit.dev/refit/drain"
	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/linediff"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/kubeadm"
	"refit.dev/refit/reconfigure"
	"refit.dev/refit/report"
	"refit.dev/refit/run"
	"refit.dev/refit/toleration"
)

// clusterTimeout is eviction-timeout set --cluster, as given.
type clusterTimeout struct {
	wanted  bool
	patches string
	reach   sshFlags
}

func (f *clusterTimeout) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.wanted, "cluster", false, "set the default, in the configuration of kubeadm and on each control plane over SSH")
	flags.StringVar(&f.patches, "patches", "", "the directory on the machines with patches for kubeadm")
	f.reach.add(flags)
}

// parse checks what can be checked without a cluster.
func (f *clusterTimeout) parse(flags *pflag.FlagSet) error {
	if !f.wanted {
		for _, name := range []string{f.reach.given(flags), "patches"} {
			if name != "" && flags.Changed(name) {
				return fmt.Errorf("--%s goes with --cluster: nothing else is done on machines", name)
			}
		}
		return nil
	}
	for _, name := range []string{"workload", "selector", "all-namespaces", "namespace"} {
		if flags.Changed(name) {
			return fmt.Errorf("--cluster and --%s exclude each other: the default is for pods of all workloads that say nothing", name)
		}
	}
	if f.patches != "" && !strings.HasPrefix(f.patches, "/") {
		return fmt.Errorf("--patches %q: want an absolute path on the machines", f.patches)
	}
	return nil
}

// clusterSet is what became of the default of a cluster.
type clusterSet struct {
	Seconds int64 `json:"seconds"`
	// Config is what became of kubeadm's configuration: changed, unchanged, failed or left.
	Config string `json:"kubeadmConfig"`
	// Servers are the API servers, by node.
	Servers []serverSet `json:"servers"`
}

// serverSet is what became of an API server. Its Result is one of those of a workload.
type serverSet struct {
	Node    string `json:"node"`
	Result  string `json:"result"`
	Message string `json:"message,omitempty"`
}

func (a *app) setClusterTimeout(ctx context.Context, seconds int64, f clusterTimeout, dryRun drain.DryRun) error {
	access, err := f.reach.access()
	if err != nil {
		return usageError(err)
	}
	_, client, err := a.client()
	if err != nil {
		return err
	}
	machines, err := a.openMachines(*access)
	if err != nil {
		return err
	}
	defer machines.Close()
	r := &reconfigure.Reconfigurer{
		Client: client, Clock: clock.RealClock{}, Patches: f.patches,
		Machine: func(node *corev1.Node) (host.Machine, error) { return machines.Machine(node, "") },
	}
	for _, taint := range toleration.Taints() {
		r.Args = append(r.Args, kubeadm.Arg{Name: toleration.FlagOf(taint), Value: strconv.FormatInt(seconds, 10)})
	}
	defaults, err := defaultsInForce(ctx, client)
	if err != nil {
		return interrupted(ctx, err)
	}
	for _, server := range defaults[0].Servers {
		if server.Seconds == nil { // the same for both taints
			return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("the admission plugin %s is off, which reads the flags: %s", toleration.Plugin, server.Source), "take it out of there first"))
		}
	}
	plan, err := r.Plan(ctx)
	if blocked := (*reconfigure.BlockedError)(nil); errors.As(err, &blocked) {
		return exitWith(exitBlocked, err)
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	a.showReconfiguration(plan)
	if odd := plan.Odd(); len(odd) > 0 {
		return exitWith(exitBlocked, hint.Wrap(fmt.Errorf("the manifest of kube-apiserver on %s was changed by hand, and kubeadm would make another one of its configuration; nothing was changed", phrase.Few(odd, 5)),
			"put what the manifest has more into apiServer.extraArgs of ConfigMap kube-system/%s, or into patches, and name their directory with --patches", reconfigure.ConfigMap))
	}
	set := &clusterSet{Seconds: seconds, Config: setLeft}
	for _, s := range plan.Servers {
		set.Servers = append(set.Servers, serverSet{Node: s.Node, Result: setLeft})
	}
	work := func(ctx context.Context) error { return a.reconfigure(ctx, plan, set, dryRun) }
	if dryRun == drain.DryRunNone && !plan.Done() {
		if err := a.confirm(ctx); err != nil {
			return err
		}
		o := &run.Operator{Client: client, Clock: clock.RealClock{}, Sink: event.SinkFunc(func(e event.Event) { a.say(report.Printable(e.Message)) })}
		exclusive := work
		work = func(ctx context.Context) error { return runError(o.Exclusively(ctx, "eviction-timeout", exclusive)) }
	}
	err = work(ctx)
	if a.output != "text" {
		err = errors.Join(err, report.WriteData(a.Out, a.output, timeoutsSet{DryRun: string(dryRun), Workloads: []timeoutSet{}, Cluster: set}))
	}
	if err != nil && ctx.Err() != nil {
		return exitWith(exitUnfinished, hint.Wrap(fmt.Errorf("interrupted; what is listed was changed: %w", err), "run the same command again: it looks at every control plane and does what is left"))
	}
	return err
}

// showReconfiguration shows what would be changed.
func (a *app) showReconfiguration(p *reconfigure.Plan) {
	show := func(what string, c reconfigure.Change) {
		if !c.Needed() {
			a.say(what + ": as it is to be")
			return
		}
		a.say(what + ":")
		for _, line := range linediff.Of(c.Before, c.After) {
			a.say("    " + oneLine(line))
		}
	}
	show("ConfigMap "+metav1.NamespaceSystem+"/"+reconfigure.ConfigMap, p.Config)
	restarts := 0
	for _, s := range p.Servers {
		show("kube-apiserver on "+oneLine(s.Node), s.Manifest)
		if s.Manifest.Needed() {
			restarts++
		} else if s.Missing != "" {
			a.say("    not in force yet: " + oneLine(s.Missing))
		}
	}
	switch {
	case len(p.Odd()) > 0: // nothing is
	case restarts == 1 && len(p.Servers) == 1:
		a.say("The kubelet starts the API server again; until it is ready nothing can be asked of the cluster. Pods go on.")
	case restarts > 0:
		a.say("The kubelets start the API servers again, one after the other.")
	}
}

// reconfigure does what was shown, and says in set what became of it.
func (a *app) reconfigure(ctx context.Context, p *reconfigure.Plan, set *clusterSet, dryRun drain.DryRun) error {
	note := map[drain.DryRun]string{drain.DryRunClient: " (dry run)", drain.DryRunServer: " (server dry run)"}[dryRun]
	tell := func(what string, result *string, needed bool, done string) error {
		*result = setUnchanged
		if needed {
			*result = setChanged
		} else {
			done = setUnchanged
		}
		if a.output != "text" {
			return nil
		}
		_, err := fmt.Fprintf(a.Out, "%s %s\n", what, done+note)
		return err
	}
	needed := p.Config.Needed()
	if dryRun != drain.DryRunClient {
		if err := p.SetConfig(ctx, dryRun == drain.DryRunServer); err != nil {
			set.Config = setFailed
			return err
		}
	}
	if err := tell("configmap/"+reconfigure.ConfigMap, &set.Config, needed, "changed"); err != nil {
		return err
	}
	for i, s := range p.Servers {
		needed, result := !s.Done(), &set.Servers[i]
		if needed && dryRun == drain.DryRunNone {
			a.say("waiting for kube-apiserver on " + oneLine(s.Node))
			if err := p.SetServer(ctx, s); err != nil {
				result.Result, result.Message = setFailed, err.Error()
				return err
			}
		}
		if err := tell("kube-apiserver on "+oneLine(s.Node), &result.Result, needed, "eviction timeout set to "+toleration.Duration(set.Seconds)); err != nil {
			return err
		}
	}
	return nil
}

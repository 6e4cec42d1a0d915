// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/internal/phrase"
	"refit.dev/refit/report"
	"refit.dev/refit/toleration"
)

// workloadArgs are the workloads that a verb is for.
type workloadArgs struct {
	names    []string
	selector string
	all      bool
}

func newEvictionTimeoutSetCommand(a *app) *cobra.Command {
	var (
		args    workloadArgs
		cluster clusterTimeout
		dryRun  string
	)
	cmd := &cobra.Command{
		Use:   "set DURATION (--workload KIND/NAME... | -l SELECTOR | -n NAMESPACE | -A | --cluster)",
		Short: "Set it for workloads, or the default of the cluster",
		Long: "Write into the pod template of workloads for how long their pods tolerate a node that is not\n" +
			"ready or unreachable. A changed template is rolled out: what that means for each workload is\n" +
			"shown first. Other tolerations stay as they are. Pods of DaemonSets stay on a lost node for\n" +
			"ever, and the template of a Job cannot be changed: these are left alone.\n\n" +
			"DURATION is in whole seconds, from 0s to 720h, in d, h, m and s: 30s, 5m, 1h30m.\n\n" +
			"With --cluster it sets the default, for pods that are created afterwards and say nothing\n" +
			"themselves, on a cluster of kubeadm: in the ConfigMap kubeadm-config, so that upgrades keep it,\n" +
			"and then on each control plane, over SSH. Its API server is started again by its kubelet, and has\n" +
			"to run with the flags and be ready before the next one. What is shown first is what kubeadm makes\n" +
			"of its configuration; a manifest that was changed by hand is refused. After an interruption or a\n" +
			"failure the same command looks at every control plane and does what is left.\n\n" +
			"Without any workloads and --cluster nothing is changed: it says which flags of kube-apiserver to\n" +
			"change, and where.",
		Example: "  # One Deployment and one StatefulSet\n" +
			"  refit eviction-timeout set 30s -n shop --workload deployment/web --workload statefulset/db\n\n" +
			"  # All workloads that have this label, in all namespaces; show it only\n" +
			"  refit eviction-timeout set 2m -A -l tier=front --dry-run=server\n\n" +
			"  # For a script: what became of each workload\n" +
			"  refit eviction-timeout set 2m -n shop --yes -o json | jq -r '.workloads[] | [.name, .result] | @tsv'\n\n" +
			"  # The default, on every control plane of a cluster of kubeadm\n" +
			"  refit eviction-timeout set 1m --cluster\n\n" +
			"  # Which flags of the API server?\n" +
			"  refit eviction-timeout set 1m",
		Args: usageArgs(func(_ *cobra.Command, words []string) error {
			if len(words) != 1 {
				return fmt.Errorf("want one duration, such as 1m, and not %s", phrase.Count(len(words), "word"))
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, words []string) error {
			seconds, err := parseTimeout(words[0])
			if err != nil {
				return usageError(err)
			}
			how, err := parseDryRun(dryRun)
			if err != nil {
				return err
			}
			if err := cluster.parse(cmd.Flags()); err != nil {
				return usageError(err)
			}
			if cluster.wanted {
				return a.setClusterTimeout(cmd.Context(), seconds, cluster, how)
			}
			wanted, err := args.parse(cmd.Flags())
			if err != nil {
				return usageError(err)
			}
			if wanted == nil {
				return a.adviseEvictionTimeout(cmd.Context(), seconds)
			}
			return a.setEvictionTimeout(cmd.Context(), seconds, *wanted, how)
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
			if text := "-" + unknown.GetSpecifiedShortnames(); len(text) > 1 && strings.ContainsAny(text[1:2], "0123456789") {
				_, err := parseTimeout(text)
				return usageError(err)
			}
		}
		return cmd.Parent().FlagErrorFunc()(cmd, err)
	})
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	f := cmd.Flags()
	f.StringArrayVar(&args.names, "workload", nil, "a workload, as KIND/NAME in the namespace of --namespace (can be repeated)")
	f.StringVarP(&args.selector, "selector", "l", "", "label selector of the workloads")
	f.BoolVarP(&args.all, "all-namespaces", "A", false, "workloads of all namespaces")
	cluster.add(f)
	a.offerNames(cmd, "workload", false, a.workloadNames)
	dryRunFlag(cmd, &dryRun)
	a.yesFlag(cmd)
	a.outputFlag(cmd, "text", "json", "yaml")
	return cmd
}

// longest is the most that is taken for meant: who wants pods to stay for longer
// than that wants them to stay for ever.
const longest = 30 * 24 * time.Hour

// parseTimeout reads how long pods are to stay, in whole seconds: the API knows no others.
func parseTimeout(text string) (int64, error) {
	d, err := parseDuration(text)
	switch {
	case err != nil:
		return 0, err
	case d < 0:
		return 0, fmt.Errorf("%q: a time cannot be negative; 0s has pods deleted at once when their node is lost", text)
	case d%time.Second != 0:
		return 0, fmt.Errorf("%q: want whole seconds; a toleration has no others", text)
	case d > longest:
		return 0, fmt.Errorf("%q is more than %s: want a time after which pods are to be replaced", text, toleration.Span(longest))
	}
	return int64(d / time.Second), nil
}

// wantedWorkloads is a selection that was read.
type wantedWorkloads struct {
	names    []toleration.Name
	selector labels.Selector
	all      bool
}

// parse checks what can be checked without a cluster; nil: nothing is selected.
func (w *workloadArgs) parse(flags *pflag.FlagSet) (*wantedWorkloads, error) {
	namespaced := flags.Changed("namespace")
	wanted := &wantedWorkloads{all: w.all}
	switch {
	case w.all && namespaced:
		return nil, errors.New("--all-namespaces and --namespace exclude each other")
	case len(w.names) > 0 && w.all:
		return nil, errors.New("--workload names one of a namespace: use --namespace instead of --all-namespaces")
	case len(w.names) > 0 && flags.Changed("selector"):
		return nil, errors.New("workloads are given by name and by --selector: use one of them")
	case len(w.names) == 0 && !flags.Changed("selector") && !w.all && !namespaced:
		return nil, nil //nolint:nilnil // nothing is selected, which is no error
	}
	for _, text := range w.names {
		name, err := toleration.ParseName(text)
		if err != nil {
			return nil, fmt.Errorf("--workload %w", err)
		}
		wanted.names = append(wanted.names, name)
	}
	if flags.Changed("selector") {
		selector, err := parseWorkloadSelector(w.selector)
		if err != nil {
			return nil, err
		}
		wanted.selector = selector
	}
	return wanted, nil
}

func parseWorkloadSelector(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--selector %q: %w", text, err)
	}
	if selector.Empty() {
		return nil, fmt.Errorf("--selector %q selects nothing in particular: want labels, such as tier=front", text)
	}
	return selector, nil
}

// find reads the workloads that were selected. That there are none is wrong input.
func (a *app) find(ctx context.Context, client kubernetes.Interface, w wantedWorkloads) ([]*toleration.Target, error) {
	namespace := ""
	if !w.all {
		var err error
		if namespace, _, err = a.kube.ToRawKubeConfigLoader().Namespace(); err != nil {
			return nil, usageError(fmt.Errorf("which namespace: %w", err))
		}
	}
	if len(w.names) > 0 {
		targets, err := toleration.Get(ctx, client, namespace, w.names)
		if missing := (*toleration.NotFoundError)(nil); errors.As(err, &missing) {
			return nil, hint.Wrap(usageError(err), "look at the name, and at the namespace: -n NAMESPACE")
		}
		return targets, err
	}
	targets, err := toleration.List(ctx, client, namespace, w.selector)
	if err == nil && len(targets) == 0 {
		where := "namespace " + namespace
		if w.all {
			where = "the cluster"
		}
		return nil, usageError(fmt.Errorf("no workload in %s is selected", where))
	}
	return targets, err
}

func (a *app) setEvictionTimeout(ctx context.Context, seconds int64, wanted wantedWorkloads, dryRun drain.DryRun) error {
	_, client, err := a.client()
	if err != nil {
		return err
	}
	targets, err := a.find(ctx, client, wanted)
	if err != nil {
		return interrupted(ctx, err)
	}
	defaults, err := defaultsInForce(ctx, client)
	if err != nil {
		return interrupted(ctx, err)
	}
	changes := toleration.Plan(targets, seconds, defaults)
	if len(wanted.names) > 0 { // what was asked for by name is not passed over
		var errs []error
		for _, c := range changes {
			if c.Refused != "" {
				errs = append(errs, fmt.Errorf("%s: %s", c.Object(), c.Refused))
			}
		}
		if len(errs) > 0 {
			return hint.Wrap(usageError(errors.Join(errs...)), "nothing was changed: leave %s out", phrase.Plural(len(errs), "it", "them"))
		}
	}
	writeChanges(a.ErrOut, changes)
	if !slices.ContainsFunc(changes, func(c toleration.Change) bool { return c.Refused == "" }) {
		return usageError(fmt.Errorf("none of what is selected can be changed: %s, for the reasons above", phrase.Count(len(changes), "workload")))
	}
	todo := slices.DeleteFunc(slices.Clone(changes), func(c toleration.Change) bool { return c.Refused != "" || c.Unchanged })
	if len(todo) > 0 && dryRun == drain.DryRunNone {
		if err := a.confirm(ctx); err != nil {
			return err
		}
	}
	return a.applyChanges(ctx, client, changes, dryRun)
}

// defaultsInForce reads what pods get whose template says nothing. Who may not look at
// the control plane gets those of Kubernetes, as assumed.
func defaultsInForce(ctx context.Context, client kubernetes.Interface) ([2]toleration.Default, error) {
	snapshot, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindPod))
	switch {
	case apierrors.IsForbidden(err):
		snapshot = &cluster.Snapshot{}
	case err != nil:
		return [2]toleration.Default{}, err
	}
	return toleration.Defaults(snapshot), nil
}

// writeChanges shows what is about to be done, and what is not.
func writeChanges(w io.Writer, changes []toleration.Change) {
	count, refused := 0, 0
	for _, c := range changes {
		switch {
		case c.Refused != "":
			refused++
			continue
		case c.Unchanged:
			fmt.Fprintf(w, "%s: %s already\n", oneLine(c.Object().String()), toleration.Duration(c.Seconds))
			continue
		}
		count++
		fmt.Fprintf(w, "%s: %s -> %s; %s\n", oneLine(c.Object().String()), c.Before, toleration.Duration(c.Seconds), oneLine(c.Effect))
		for _, warning := range c.Warnings {
			fmt.Fprintf(w, "  warning: %s\n", oneLine(warning))
		}
		if c.Seconds == 0 {
			fmt.Fprintln(w, "  warning: its pods are deleted as soon as their node is not ready, however briefly")
		}
	}
	for _, c := range changes {
		if c.Refused != "" {
			fmt.Fprintf(w, "not %s: %s\n", oneLine(c.Object().String()), oneLine(c.Refused))
		}
	}
	fmt.Fprintf(w, "%s to change", phrase.Count(count, "workload"))
	if refused > 0 {
		fmt.Fprintf(w, ", %d left alone", refused)
	}
	if same := len(changes) - count - refused; same > 0 {
		fmt.Fprintf(w, ", %d with %s already", same, toleration.Duration(changes[0].Seconds))
	}
	fmt.Fprintln(w)
}

// adviseEvictionTimeout says how to change the default of the API server.
func (a *app) adviseEvictionTimeout(ctx context.Context, seconds int64) error {
	_, client, err := a.client()
	if err != nil {
		return err
	}
	snapshot, err := cluster.Read(ctx, client, cluster.WithKinds(cluster.KindNode, cluster.KindPod))
	if err != nil {
		return interrupted(ctx, err)
	}
	advice := evictionTimeoutAdvice(snapshot, seconds)
	if a.output != "text" {
		all := timeoutsSet{Workloads: []timeoutSet{}, Advice: advice}
		for _, d := range toleration.Defaults(snapshot) {
			all.Flags = append(all.Flags, flagToSet{Default: d, Wanted: seconds})
		}
		return report.WriteData(a.Out, a.output, all)
	}
	_, err = io.WriteString(a.Out, advice)
	return err
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/outage"
	"refit.dev/refit/report"
	"refit.dev/refit/toleration"
)

// outageFlags are the flags of outage.
type outageFlags struct {
	nodes nodeArgs
	away  time.Duration
	zones []string
	all   bool
	given map[string]*string // parameters, by their flags
}

func newOutageCommand(a *app) *cobra.Command {
	f := &outageFlags{given: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "outage (NODE... | -l SELECTOR | --zone ZONE | --all)",
		Short: "Tell what happens to each pod if nodes go away",
		Long: "Tell what would happen if nodes went away now, without a word: when they are declared\n" +
			"unreachable and tainted, when the toleration of each pod runs out, what replaces it and whether\n" +
			"that fits, what is stuck until the nodes are back, what is lost for good, and what each workload\n" +
			"has left in the meantime. Nothing is changed.\n\n" +
			"With --for it tells what happens if the nodes come back: in time, or with pods deleted already.\n" +
			"Without, they never do. --all loses each node by itself and lists first whose loss hurts most.\n\n" +
			"The settings of the control plane are read from the command lines of its pods, where they are to\n" +
			"be seen; otherwise the defaults of the version are assumed. Each is shown with where it is from.\n\n" +
			"The exit code says whether there is a forecast, not how bad it is: a script asks -o json.",
		Example: "  # What if this node is away for ten minutes?\n" +
			"  refit outage node-3 --for 10m\n\n" +
			"  # What if a zone burns down? And what if two of them do?\n" +
			"  refit outage --zone eu-west-1a\n" +
			"  refit outage --zone eu-west-1a,eu-west-1b\n\n" +
			"  # What if everything goes away for an hour? Every node has this label\n" +
			"  refit outage -l kubernetes.io/hostname --for 1h\n\n" +
			"  # Which nodes would be missed most?\n" +
			"  refit outage --all\n\n" +
			"  # Pods whose replacements fit nowhere\n" +
			"  refit outage node-3 -o json | jq -r '.pods[] | select(.replacement.fits == false) | .name'",
		RunE: func(cmd *cobra.Command, args []string) error { return a.outage(cmd, f, args) },
	}
	cmd.ValidArgsFunction = a.completeNodes
	f.nodes.add(cmd)
	cmd.Flags().Var((*awayValue)(&f.away), "for", "how long the nodes are away from now on, also those that are silent already, in d, h, m and s, such as 10m or 1d12h, and no more than "+toleration.Span(outage.Longest)+"; without it they never come back")
	cmd.Flags().StringSliceVar(&f.zones, "zone", nil, "lose all nodes of this zone; several zones, as --zone A,B or --zone A --zone B, are lost together")
	cmd.Flags().BoolVar(&f.all, "all", false, "lose each node by itself, and rank them by what that would do")
	a.offerNames(cmd, "zone", true, zoneNames)
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.NoFileCompletions)
	for _, name := range outage.Given() {
		f.given[name] = cmd.Flags().String(name, "", parameterUsage[name])
		if name != "disable-force-detach-on-timeout" {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
		}
	}
	offer(cmd, "disable-force-detach-on-timeout", "true", "false")
	a.outputFlag(cmd, "text", "wide", "json", "yaml")
	return cmd
}

// parameterUsage says what the parameters are; what is not given is as in the cluster.
var parameterUsage = map[string]string{
	"node-monitor-grace-period":              "what if a lease may be silent for so long (as of kube-controller-manager)",
	"node-monitor-period":                    "what if leases are looked at so often (as of kube-controller-manager)",
	"lease-renewal":                          "what if kubelets renew their leases so often",
	"default-not-ready-toleration-seconds":   "what if pods that say nothing tolerate the taint of a node that is not Ready for so long (as of kube-apiserver)",
	"default-unreachable-toleration-seconds": "what if pods that say nothing tolerate the taint for so long (as of kube-apiserver)",
	"node-eviction-rate":                     "what if so many nodes of a zone are tainted per second (as of kube-controller-manager)",
	"secondary-node-eviction-rate":           "what if it is so many in a large zone of which much is gone (as of kube-controller-manager)",
	"unhealthy-zone-threshold":               "what if so much of a zone, of 1, is much (as of kube-controller-manager)",
	"large-cluster-size-threshold":           "what if a zone is large with more nodes than this (as of kube-controller-manager)",
	"kube-api-qps":                           "what if each controller may make so many calls per second (as of kube-controller-manager)",
	"kube-api-burst":                         "what if it may make so many at once (as of kube-controller-manager)",
	"pod-eviction-timeout":                   "what if kube-controller-manager is older than 1.27 and runs with --enable-taint-manager=false and this",
	"controllers":                            "what if these controllers run: *, NAME, -NAME (as of kube-controller-manager)",
	"disable-force-detach-on-timeout":        "what if volumes are never detached by force: true or false (as of kube-controller-manager)",
}

func (a *app) outage(cmd *cobra.Command, f *outageFlags, args []string) error {
	names, selector, err := f.parse(cmd, args)
	if err != nil {
		return err
	}
	canvas, err := report.CanvasOf(a.Out, a.color, os.Getenv)
	if err != nil {
		return usageError(err)
	}
	_, client, err := a.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	snapshot, err := cluster.Read(ctx, client)
	if err != nil {
		return interrupted(ctx, err)
	}
	parameters, assumptions := outage.ReadParameters(snapshot)
	leases, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		assumptions = append(assumptions, "the leases in namespace "+corev1.NamespaceNodeLease+" may not be read: nodes are taken to have worked until now, unless they are Unknown")
		leases, err = &coordinationv1.LeaseList{}, nil
	}
	if err != nil {
		return interrupted(ctx, fmt.Errorf("read the leases of the nodes: %w", err))
	}
	assumptions = append(assumptions, parameters.ReadLeases(snapshot, leases.Items)...)
	if err := f.give(cmd, &parameters); err != nil {
		return err
	}
	for i := range snapshot.Unread {
		assumptions = append(assumptions, snapshot.Unread[i].Object.String()+" "+snapshot.Unread[i].Message)
	}
	v := outageView{Canvas: canvas, wide: a.output == "wide", basis: basis{Parameters: parameters.Rows(), Assumptions: append([]string{}, assumptions...)}}
	if f.all {
		hurts, err := outage.Rank(snapshot, parameters, f.away)
		if err != nil {
			return usageError(err)
		}
		if f.away > 0 {
			v.away = ptr.To(f.away.Seconds())
		}
		return v.writeRanks(a.Out, a.output, hurts)
	}
	quotas, err := client.CoreV1().ResourceQuotas("").List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		v.Assumptions = append(v.Assumptions, "the resource quotas may not be read: whether they leave room for new pods is not known")
		quotas, err = &corev1.ResourceQuotaList{}, nil
	}
	if err != nil {
		return interrupted(ctx, fmt.Errorf("read the resource quotas: %w", err))
	}
	r := outage.Request{Nodes: names, For: f.away, Heard: outage.Silent(snapshot, leases.Items, parameters), Quotas: quotas.Items}
	if r.Nodes, err = f.choose(snapshot, names, selector); err != nil {
		return usageError(err)
	}
	forecast, err := outage.Predict(snapshot, parameters, r)
	if err != nil {
		return usageError(err)
	}
	return v.writeForecast(a.Out, a.output, forecast)
}

// parse checks what can be checked without a cluster.
func (f *outageFlags) parse(cmd *cobra.Command, args []string) (names []string, selector labels.Selector, err error) {
	ways := 0
	for _, used := range []bool{len(args) > 0, cmd.Flags().Changed("selector"), cmd.Flags().Changed("zone"), f.all} {
		if used {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, nil, usageError(errors.New("nodes by name, --selector, --zone and --all: use one of them"))
	case cmd.Flags().Changed("for") && (f.away <= 0 || f.away > outage.Longest):
		return nil, nil, hint.Wrap(usageError(fmt.Errorf("--for %s: want more than nothing, and no more than %s", toleration.Span(f.away), toleration.Span(outage.Longest))),
			"without --for the nodes never come back")
	case cmd.Flags().Changed("zone") && (len(f.zones) == 0 || slices.Contains(f.zones, "")):
		return nil, nil, usageError(errors.New("--zone is empty: name a zone"))
	}
	if err := f.give(cmd, &outage.Parameters{}); err != nil {
		return nil, nil, err
	}
	if f.all || len(f.zones) > 0 {
		return nil, nil, nil
	}
	if ways == 0 {
		return nil, nil, hint.Wrap(usageError(errors.New("no node is given")), "name nodes, select them with --selector, or say --zone or --all")
	}
	return f.nodes.parse(args)
}

// give sets the parameters that were given.
func (f *outageFlags) give(cmd *cobra.Command, p *outage.Parameters) error {
	for _, name := range outage.Given() {
		if cmd.Flags().Changed(name) {
			if err := p.Set(name, *f.given[name]); err != nil {
				return usageError(err)
			}
		}
	}
	return nil
}

// choose finds the names of the nodes to lose.
func (f *outageFlags) choose(s *cluster.Snapshot, names []string, selector labels.Selector) ([]string, error) {
	switch {
	case len(f.zones) > 0:
		for _, zone := range f.zones {
			nodes := outage.InZone(s, zone)
			if len(nodes) == 0 {
				return nil, noZone(s, zone)
			}
			names = append(names, nodes...)
		}
		slices.Sort(names)
		return slices.Compact(names), nil // a zone may be given twice
	case selector != nil:
		for _, n := range s.Nodes {
			if selector.Matches(labels.Set(n.Labels)) {
				names = append(names, n.Name)
			}
		}
		if len(names) == 0 {
			return nil, hint.Wrap(fmt.Errorf("no node matches %q", selector), "`kubectl get nodes --show-labels` shows what there is to match")
		}
	}
	return names, nil
}

// noZone is the error of a zone in which there is no node.
func noZone(s *cluster.Snapshot, zone string) error {
	err := fmt.Errorf("no node is in a zone %q", zone)
	if zones := outage.ZoneNames(s); len(zones) > 0 {
		return hint.Wrap(err, "there are %s", strings.Join(zones, ", "))
	}
	return hint.Wrap(err, "no node has the label topology.kubernetes.io/zone: name nodes instead")
}

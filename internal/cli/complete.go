// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"refit.dev/refit/cluster"
	"refit.dev/refit/outage"
	"refit.dev/refit/toleration"
)

// completionLimit is how long a shell waits for the names of nodes.
const completionLimit = 3 * time.Second

// offer completes the value of a flag with one of values.
func offer(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// offerContexts completes the flags that choose something in the kubeconfig.
func (a *app) offerContexts(root *cobra.Command) {
	for flag, names := range map[string]func(*clientcmdapi.Config) []string{
		"context": func(c *clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Contexts)) },
		"cluster": func(c *clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.Clusters)) },
		"user":    func(c *clientcmdapi.Config) []string { return slices.Sorted(maps.Keys(c.AuthInfos)) },
	} {
		_ = root.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			config, err := a.kube.ToRawKubeConfigLoader().RawConfig()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return names(&config), cobra.ShellCompDirectiveNoFileComp
		})
	}
	a.offerNames(root, "namespace", false, namespaceNames)
}

// offerNames completes a flag with what names asks the API server for. The last of a
// list with commas is completed if lists says so.
func (a *app) offerNames(cmd *cobra.Command, flag string, lists bool, names func(context.Context, kubernetes.Interface) ([]string, error)) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		_, client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		found, err := names(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		slices.Sort(found)
		found = slices.Compact(found)
		if i := strings.LastIndex(typed, ","); lists && i >= 0 {
			for j := range found {
				found[j] = typed[:i+1] + found[j]
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	})
}

func namespaceNames(ctx context.Context, client kubernetes.Interface) ([]string, error) {
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

func zoneNames(ctx context.Context, client kubernetes.Interface) ([]string, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	s := &cluster.Snapshot{}
	for i := range list.Items {
		s.Nodes = append(s.Nodes, &cluster.Node{Node: &list.Items[i]})
	}
	return outage.ZoneNames(s), nil
}

// workloadNames are those of the namespace in use that can be changed, as kubectl
// writes them: deployment/web.
func (a *app) workloadNames(ctx context.Context, client kubernetes.Interface) ([]string, error) {
	namespace, _, err := a.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	targets, err := toleration.List(ctx, client, namespace, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range toleration.Plan(targets, 0, toleration.Defaults(&cluster.Snapshot{})) {
		if c.Refused == "" {
			names = append(names, strings.ToLower(c.Kind)+"/"+c.Name)
		}
	}
	return names, nil
}

// completeNodes offers the nodes that are not on the command line yet.
func (a *app) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	_, client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
	defer cancel()
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range nodes.Items {
		if !slices.Contains(args, n.Name) {
			names = append(names, n.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

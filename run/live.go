// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/drain"
	"refit.dev/refit/plan"
)

// live is the Cluster behind an API server.
type live struct {
	*cluster.Watcher
	client  kubernetes.Interface
	drainer *drain.Drainer
	clock   clock.PassiveClock
}

// connect watches the cluster until ctx ends.
func connect(ctx context.Context, client kubernetes.Interface, clk clock.PassiveClock) (*cluster.Watcher, error) {
	return cluster.Watch(ctx, client, cluster.WithClock(clk), cluster.WithKinds(
		cluster.KindNode, cluster.KindPod, cluster.KindBudget, cluster.KindWorkload,
		cluster.KindVolume, cluster.KindClaim, cluster.KindAttachment))
}

// options are those of package drain. What one node's drain may take is the
// engine's to say.
func (d Drain) options(run string, clk clock.WithTicker) (drain.Options, error) {
	o := drain.Options{
		Force: d.Force, IgnoreDaemonSets: d.IgnoreDaemonSets, DeleteEmptyDirData: d.DeleteEmptyDirData,
		DisableEviction: d.DisableEviction, GracePeriod: d.GracePeriodSeconds,
		SkipWaitForDelete: d.SkipWaitForDelete.Duration, Run: run, Clock: clk,
	}
	if d.PodSelector == "" {
		return o, nil
	}
	selector, err := labels.Parse(d.PodSelector)
	if err != nil {
		return o, fmt.Errorf("--pod-selector %q: %w", d.PodSelector, err)
	}
	o.PodSelector = selector
	return o, nil
}

func (l *live) Subscribe() Changes { return l.Watcher.Subscribe() }

func (l *live) Caches() plan.Source { return l.Watcher }

func (l *live) Seen(name string) *corev1.Node { return l.Watcher.Node(name) }

func (l *live) Node(ctx context.Context, name string) (*corev1.Node, error) {
	node, err := l.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // as the interface says
	}
	if err != nil {
		return nil, fmt.Errorf("look at node %s: %w", name, err)
	}
	return node, nil
}

func (l *live) Cordon(ctx context.Context, node *corev1.Node, run string) (bool, error) {
	return drain.Cordon(ctx, l.client, node, cluster.Mark{Run: run, Since: l.clock.Now()})
}

func (l *live) Uncordon(ctx context.Context, name, run string) (bool, error) {
	return drain.Uncordon(ctx, l.client, name, run)
}

func (l *live) Taint(ctx context.Context, node *corev1.Node, run string, wanted func() bool) error {
	return drain.Taint(ctx, l.client, node, run, wanted)
}

func (l *live) Untaint(ctx context.Context, name, run string) error {
	return drain.Untaint(ctx, l.client, name, run)
}

func (l *live) Drain(ctx context.Context, name string) (Drained, error) {
	result, err := l.drainer.Drain(ctx, name)
	var unfinished *drain.UnfinishedError
	if errors.As(err, &unfinished) && ctx.Err() == nil {
		// Nothing here ends a drain but ctx: it is not to look as if ctx had.
		err = errors.New(unfinished.Error())
	}
	return Drained{Counts: result.Counts, Remaining: result.Remaining}, err
}

func (l *live) Leaving(ctx context.Context, name string) (drain.Selection, error) {
	changes := l.Watcher.Subscribe()
	defer changes.Close()
	for {
		pods, err := l.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String(),
		})
		if err != nil {
			return drain.Selection{}, fmt.Errorf("list the pods of node %s: %w", name, err)
		}
		if !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
			seen := l.Watcher.Pod(p.Namespace, p.Name)
			return seen == nil || seen.UID != p.UID
		}) {
			return l.drainer.Select(name), nil
		}
		select {
		case <-changes.Ready():
			changes.Take()
		case <-ctx.Done():
			return drain.Selection{}, context.Cause(ctx)
		}
	}
}

func (l *live) Restart(ctx context.Context, s Surge) error { return restart(ctx, l.client, s, false) }

// restart is Restart; dryRun lets the API server do all of it but the change.
func restart(ctx context.Context, client kubernetes.Interface, s Surge, dryRun bool) error {
	options := metav1.PatchOptions{}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	for {
		d, err := client.AppsV1().Deployments(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", s, err)
		}
		rollout := cluster.RolloutOf(d)
		if d.UID != s.UID || rollout.RestartedAt == s.RestartedAt || ptr.Deref(d.Spec.Replicas, 1) != 1 {
			return nil
		}
		if why := badRollout(rollout); why != "" {
			return cannotSurge(s.Namespace, s.Name, why)
		}
		patch, err := json.Marshal(map[string]any{
			// Its strategy was looked at in this version.
			"metadata": map[string]any{"uid": d.UID, "resourceVersion": d.ResourceVersion},
			"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
				"annotations": map[string]string{cluster.RestartedAtAnnotation: s.RestartedAt},
			}}},
		})
		if err != nil {
			return fmt.Errorf("restart %s: %w", s, err)
		}
		_, err = client.AppsV1().Deployments(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, options)
		if apierrors.IsConflict(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("restart %s: %w", s, err)
		}
		return nil
	}
}

func (l *live) Note(ctx context.Context, node *corev1.Node, reason, message string) {
	drain.Note(ctx, l.client, l.clock.Now(), node, reason, message)
}

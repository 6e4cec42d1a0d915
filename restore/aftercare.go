// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
)

// mostAtOnce is how many machines are logged in to at the same time.
const mostAtOnce = 16

// renewal is how long a kubelet has to renew its lease, which it does every 10 seconds
// (https://kubernetes.io/docs/concepts/architecture/leases/).
const renewal = 45 * time.Second

// restartOthers restarts the kubelets of the other nodes: one whose Node is gone
// registers anew, and pods that are gone are ended. A machine that cannot be reached is
// told of; the restore does not fail for it.
func (r *restoring) restartOthers(ctx context.Context) error {
	var all sync.WaitGroup
	slots := make(chan struct{}, mostAtOnce)
	for _, node := range r.spec.Restore.Others {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			m, err := r.operator.Reach(nodeOf(node), r.spec.Run)
			if err == nil {
				err = kubelet{files{m}}.restartKubelet(ctx)
			}
			if err != nil {
				r.emit(event.Event{
					Type: event.Warning, Node: node, Message: fmt.Sprintf("its kubelet was not restarted: %v", err),
					Hint: "restart it (systemctl restart kubelet)",
				})
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// lookAfter tells what somebody should see to.
func (r *restoring) lookAfter(ctx context.Context) error {
	if r.operator.Aftercare == nil {
		return nil
	}
	list, err := r.operator.Aftercare(ctx)
	if err != nil {
		list = append(list, fmt.Sprintf("what else is to be seen to could not be found out: %v", err))
	}
	for _, message := range list {
		r.emit(event.Event{Type: event.Warning, Message: message})
	}
	return nil
}

// Aftercare looks for what a restored cluster has and should not: Nodes whose kubelet
// does not answer, and volume attachments and pods of nodes that are not there. It waits for
// kubelets to renew their leases.
func Aftercare(ctx context.Context, client kubernetes.Interface, clk clock.WithTicker) ([]string, error) {
	nodes, err := listNodes(ctx, client, clk)
	if err != nil {
		return nil, fmt.Errorf("list the nodes: %w", err)
	}
	silent, err := silentNodes(ctx, client, clk, nodes.Items)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range silent {
		list = append(list, fmt.Sprintf("node %s: its kubelet has not renewed its lease since; if the machine is gone, kubectl delete node %s", name, name))
	}
	there := func(name string) bool {
		return slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == name })
	}
	attachments, err := client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return list, fmt.Errorf("list the volume attachments: %w", err)
	}
	for _, a := range attachments.Items {
		if !there(a.Spec.NodeName) {
			list = append(list, fmt.Sprintf("volume attachment %s is for node %s, which is not there", a.Name, a.Spec.NodeName))
		}
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return list, fmt.Errorf("list the pods: %w", err)
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName != "" && !there(p.Spec.NodeName) {
			list = append(list, fmt.Sprintf("pod %s/%s is bound to node %s, which is not there", p.Namespace, p.Name, p.Spec.NodeName))
		}
	}
	return list, nil
}

// rightsLimit is how long an API server may refuse everything that it allows later: one that was just started answers
// before it has read all roles and their bindings.
const rightsLimit = time.Minute

// listNodes lists the nodes as soon as that is allowed.
func listNodes(ctx context.Context, client kubernetes.Interface, clk clock.WithTicker) (*corev1.NodeList, error) {
	for deadline := clk.Now().Add(rightsLimit); ; {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if !apierrors.IsForbidden(err) || clk.Now().After(deadline) {
			return nodes, err
		}
		if err := pause(ctx, clk); err != nil {
			return nil, err
		}
	}
}

// silentNodes are those whose leases are not renewed while it looks.
func silentNodes(ctx context.Context, client kubernetes.Interface, clk clock.WithTicker, nodes []corev1.Node) ([]string, error) {
	first := map[string]time.Time{}
	deadline := clk.Now().Add(renewal)
	for {
		leases, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list the leases of the nodes: %w", err)
		}
		renewed := map[string]bool{}
		for _, l := range leases.Items {
			if l.Spec.RenewTime == nil {
				continue
			}
			at, seen := first[l.Name]
			if !seen {
				first[l.Name] = l.Spec.RenewTime.Time
			}
			renewed[l.Name] = seen && !at.Equal(l.Spec.RenewTime.Time)
		}
		var silent []string
		for _, n := range nodes {
			if !renewed[n.Name] {
				silent = append(silent, n.Name)
			}
		}
		if len(silent) == 0 || clk.Now().After(deadline) {
			slices.SortFunc(silent, cmp.Compare[string])
			return silent, nil
		}
		if err := pause(ctx, clk); err != nil {
			return nil, err
		}
	}
}

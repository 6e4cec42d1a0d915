// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

const (
	// renewals is how often a kubelet renews its lease in the time that it holds
	// (nodeLeaseRenewIntervalFraction in pkg/kubelet/kubelet.go of Kubernetes).
	renewals = 4
	// leaseRetry is when a renewal that failed is tried again: soon enough for
	// a few more before the lease expires.
	leaseRetry = time.Second
)

// leases renews the leases of the nodes whose kubelets run. kwok could do it,
// but takes the lease for the right to manage the node: it looks at the pods of
// a node once, when it has got the lease, and skips them if its own watch does
// not show the lease yet. What had happened to them before is then lost. A twin
// has one kwok at a time, which needs no such right.
type leases struct {
	Config
	duration time.Duration // of a lease
	client   kubernetes.Interface
	nodes    corelisters.NodeLister
	queue    workqueue.TypedDelayingInterface[string]
	clock    clock.Clock
}

// changed is called when a node was added (old is nil) or changed.
func (l *leases) changed(old, node *corev1.Node) {
	if old == nil || old.UID != node.UID || old.Labels[l.KubeletLabel] != node.Labels[l.KubeletLabel] {
		l.queue.Add(node.Name)
	}
}

func (l *leases) work(ctx context.Context) {
	for {
		name, quit := l.queue.Get()
		if quit {
			return
		}
		if again := l.keep(ctx, name); again > 0 {
			l.queue.AddAfter(name, again)
		}
		l.queue.Done(name)
	}
}

// keep renews the lease of a node, if its kubelet runs. The duration is when
// to call it again, 0 for not before the kubelet is started or stopped.
func (l *leases) keep(ctx context.Context, name string) time.Duration {
	node, err := l.nodes.Get(name)
	if err != nil || node.Labels[l.KubeletLabel] != l.Running {
		return 0 // the lister's only error is that there is no such node
	}
	every := l.duration / renewals
	ctx, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	if err := l.renew(ctx, node); err != nil {
		slog.Warn("lease not renewed, will try again", "node", name, "error", err)
		return leaseRetry
	}
	return every
}

// renew makes the lease say that its node lives, as the node's kubelet does
// (k8s.io/component-helpers/apimachinery/lease).
func (l *leases) renew(ctx context.Context, node *corev1.Node) error {
	seconds, now := int32(l.duration.Seconds()), metav1.NewMicroTime(l.clock.Now())
	lease := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, Namespace: corev1.NamespaceNodeLease,
			// It goes with its node, and not with an earlier one of the name.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"ownerReferences": lease.OwnerReferences}, "spec": lease.Spec,
	})
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", node.Name, err)
	}
	all := l.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	_, err = all.Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = all.Create(ctx, &lease, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the lease of node %s: %w", node.Name, err)
	}
	return nil
}

// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// kind is one kind of object that is watched.
type kind struct {
	name  string
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// kinds are all that a verdict needs: the pods, what limits their disruption,
// the built-in controllers that can be scaled, and the nodes.
func kinds(c kubernetes.Interface) []kind {
	const all = metav1.NamespaceAll
	return []kind{
		kindOf("nodes", c.CoreV1().Nodes().List, c.CoreV1().Nodes().Watch),
		kindOf("pods", c.CoreV1().Pods(all).List, c.CoreV1().Pods(all).Watch),
		kindOf("poddisruptionbudgets", c.PolicyV1().PodDisruptionBudgets(all).List, c.PolicyV1().PodDisruptionBudgets(all).Watch),
		kindOf("deployments", c.AppsV1().Deployments(all).List, c.AppsV1().Deployments(all).Watch),
		kindOf("replicasets", c.AppsV1().ReplicaSets(all).List, c.AppsV1().ReplicaSets(all).Watch),
		kindOf("statefulsets", c.AppsV1().StatefulSets(all).List, c.AppsV1().StatefulSets(all).Watch),
		kindOf("replicationcontrollers", c.CoreV1().ReplicationControllers(all).List, c.CoreV1().ReplicationControllers(all).Watch),
	}
}

func kindOf[L runtime.Object](
	name string,
	list func(context.Context, metav1.ListOptions) (L, error),
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error),
) kind {
	return kind{
		name:  name,
		list:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) },
		watch: watch,
	}
}

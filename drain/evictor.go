// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Evictor asks for one pod to be taken away. Implementations send one request
// and return the API server's error as it is: they do not wait, and do not try
// again by themselves. They are safe for concurrent use and return when ctx ends.
type Evictor interface {
	Evict(ctx context.Context, pod *corev1.Pod, options EvictOptions) error
}

// EvictOptions go with one eviction.
type EvictOptions struct {
	// GracePeriod is in seconds; nil is what the pod itself says.
	GracePeriod *int64
	// DryRun makes the server answer as if, and do nothing.
	DryRun bool
}

// deleteOptions carry the pod's UID, so that a pod recreated under the same name
// is never the one that goes.
func (o EvictOptions) deleteOptions(pod *corev1.Pod) *metav1.DeleteOptions {
	options := metav1.NewPreconditionDeleteOptions(string(pod.UID))
	options.GracePeriodSeconds = o.GracePeriod
	if o.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return options
}

// NewEvictor returns an Evictor that creates policy/v1 Evictions: the API server
// checks the budgets.
func NewEvictor(client kubernetes.Interface) Evictor { return evictionAPI{client} }

// NewDeleter returns an Evictor that deletes pods, which passes by all budgets.
func NewDeleter(client kubernetes.Interface) Evictor { return deletionAPI{client} }

// Both build their requests themselves because client-go's typed calls answer
// 429 with silent waits of up to ten times the Retry-After.

type evictionAPI struct{ client kubernetes.Interface }

func (e evictionAPI) Evict(ctx context.Context, pod *corev1.Pod, options EvictOptions) error {
	return e.client.CoreV1().RESTClient().Post().
		Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("eviction").
		Body(&policyv1.Eviction{
			TypeMeta:      metav1.TypeMeta{APIVersion: "policy/v1", Kind: "Eviction"},
			ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			DeleteOptions: options.deleteOptions(pod),
		}).
		MaxRetries(0).Do(ctx).Error()
}

type deletionAPI struct{ client kubernetes.Interface }

func (d deletionAPI) Evict(ctx context.Context, pod *corev1.Pod, options EvictOptions) error {
	return d.client.CoreV1().RESTClient().Delete().
		Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		Body(options.deleteOptions(pod)).
		MaxRetries(0).Do(ctx).Error()
}

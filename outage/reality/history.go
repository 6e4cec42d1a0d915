// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package reality

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// revision is a resource version as a number: the order in which things happened.
type revision uint64

// History is what was seen of a cluster's pods, nodes and Jobs since Watch.
type History struct {
	mu      sync.Mutex
	pods    map[types.UID]*pod
	nodes   map[string]*node
	failed  map[types.UID]bool // Jobs
	changed chan struct{}      // closed at the next change
}

// pod is the life of one Pod object.
type pod struct {
	namespace, name, node string
	owner                 types.UID // of its controller; empty if it has none
	tolerations           []corev1.Toleration
	// appeared, begun and gone are when it was first seen, got its deletion
	// timestamp and was removed; 0: not yet.
	appeared, begun, gone revision
	deleted               time.Time // when its deletion was asked for; zero if that was not to be seen
	finished              revision  // since when its containers have ended
	ready                 bool
}

func (p *pod) String() string { return p.namespace + "/" + p.name }

// Watch begins a history, which ends with ctx. It returns when everything that
// exists has been seen.
func Watch(ctx context.Context, client kubernetes.Interface) (*History, error) {
	h := &History{
		pods: map[types.UID]*pod{}, nodes: map[string]*node{}, failed: map[types.UID]bool{},
		changed: make(chan struct{}),
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	var synced []cache.InformerSynced
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(), factory.Core().V1().Nodes().Informer(), factory.Batch().V1().Jobs().Informer(),
	} {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { h.see(obj, false) },
			UpdateFunc: func(_, obj any) { h.see(obj, false) },
			DeleteFunc: func(obj any) { h.see(obj, true) },
		})
		if err != nil {
			return nil, fmt.Errorf("watch the cluster: %w", err)
		}
		synced = append(synced, registration.HasSynced)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil, fmt.Errorf("watch the cluster: %w", context.Cause(ctx))
	}
	return h, nil
}

// see takes down a change of an object.
func (h *History) see(obj any, gone bool) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch o := obj.(type) {
	case *corev1.Pod:
		h.seePod(o, gone)
	case *corev1.Node:
		h.seeNode(o)
	case *batchv1.Job:
		for _, c := range o.Status.Conditions {
			// The former comes when the Job gives up, the latter when its pods are gone, too.
			if (c.Type == batchv1.JobFailureTarget || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
				h.failed[o.UID] = true
			}
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *History) seePod(o *corev1.Pod, gone bool) {
	at := revisionOf(o)
	p := h.pods[o.UID]
	if p == nil {
		p = &pod{namespace: o.Namespace, name: o.Name, appeared: at}
		if c := metav1.GetControllerOf(o); c != nil {
			p.owner = c.UID
		}
		h.pods[o.UID] = p
	}
	p.node, p.tolerations = o.Spec.NodeName, o.Spec.Tolerations
	if o.DeletionTimestamp != nil && p.begun == 0 {
		// The timestamp is when the grace period ends. Who deletes a pod a second
		// time can only shorten it, so the first sight counts.
		p.begun, p.deleted = at, o.DeletionTimestamp.Time
		if grace := o.DeletionGracePeriodSeconds; grace != nil {
			p.deleted = p.deleted.Add(-time.Duration(*grace) * time.Second)
		}
	}
	if p.finished == 0 && (o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed) {
		p.finished = at
	}
	p.ready = false
	for _, c := range o.Status.Conditions {
		p.ready = p.ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	if gone {
		p.gone = at
		if p.begun == 0 { // it never had a deletion timestamp
			p.begun = at
		}
	}
}

// Await waits until ok, which is asked again after each change. The error, when
// ctx ends, wraps its cause.
func (h *History) Await(ctx context.Context, what string, ok func() bool) error {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("not seen: %s: %w", what, context.Cause(ctx))
		}
	}
}

// AwaitQuiet waits until these nodes work again as far as the control plane knows,
// and none of their pods is being deleted or not Ready.
func (h *History) AwaitQuiet(ctx context.Context, nodes []string) error {
	var noise string
	err := h.Await(ctx, "quiet", func() bool {
		noise = h.noise(nodes)
		return noise == ""
	})
	if err != nil {
		return fmt.Errorf("%s: %w", noise, err)
	}
	return nil
}

// noise says what is not as it should be on nodes that work; "" if all is.
func (h *History) noise(nodes []string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range nodes {
		if n := h.nodes[name]; n == nil || !n.settled {
			return fmt.Sprintf("node %s does not work", name)
		}
	}
	for _, p := range h.pods {
		switch {
		case p.gone > 0 || p.finished > 0 || !slices.Contains(nodes, p.node):
		case p.begun > 0:
			return fmt.Sprintf("pod %s on %s is being deleted", p, p.node)
		case !p.ready:
			return fmt.Sprintf("pod %s on %s is not Ready", p, p.node)
		}
	}
	return ""
}

func revisionOf(o metav1.Object) revision {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(errors.Join(errors.New("a resource version that is no number"), err)) // not on a twin
	}
	return revision(n)
}

// Anew says whether a pod of that name is Ready on another node than that one.
func (h *History) Anew(namespace, name, node string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.pods {
		if p.namespace == namespace && p.name == name && p.gone == 0 && p.begun == 0 && p.ready && p.node != node {
			return true
		}
	}
	return false
}

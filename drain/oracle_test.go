// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"refit.dev/refit/event"
)

// lowest watches the pods of an app by itself and returns, when asked, the least
// number of ready pods there ever was.
func (g *ground) lowest(app string) (stop func() int) {
	g.t.Helper()
	pods := g.admin.CoreV1().Pods("default")
	list := must[*corev1.PodList](g.t)(pods.List(g.ctx, metav1.ListOptions{LabelSelector: "app=" + app}))
	healthy := map[types.UID]bool{}
	for i := range list.Items {
		healthy[list.Items[i].UID] = isReady(&list.Items[i])
	}
	stream := must[watch.Interface](g.t)(pods.Watch(g.ctx, metav1.ListOptions{LabelSelector: "app=" + app, ResourceVersion: list.ResourceVersion}))
	count := func() (n int) {
		for _, h := range healthy {
			if h {
				n++
			}
		}
		return n
	}
	low := count()
	done := make(chan struct{})
	var stopped atomic.Bool
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				if !stopped.Load() {
					g.t.Errorf("the watch of pods broke: %v", e.Object)
				}
				return
			}
			healthy[pod.UID] = e.Type != watch.Deleted && isReady(pod)
			low = min(low, count())
		}
	}()
	return func() int {
		stopped.Store(true)
		stream.Stop()
		<-done
		return low
	}
}

// standing are the pods on nodes now.
func (g *ground) standing(nodes ...string) map[string]bool {
	uids := map[string]bool{}
	for _, n := range nodes {
		for _, pod := range g.w.PodsOn(n) {
			uids[string(pod.UID)] = true
		}
	}
	return uids
}

// evictedPods are the pods that were evicted, by UID. None may have been twice.
func (g *ground) evictedPods() map[string]bool {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	uids := map[string]bool{}
	for _, e := range g.events {
		if e.Type != event.PodEvicted {
			continue
		}
		if uids[e.Pod.UID] {
			g.t.Errorf("pod %s, %s, was evicted twice", e.Pod, e.Pod.UID)
		}
		uids[e.Pod.UID] = true
	}
	return uids
}

// evictedOnce wants each of the pods that stood on the nodes to have been evicted
// once and to be gone, and the counts to say so. A replacement may have been, too:
// a scheduler that has not seen yet that a node is cordoned still puts pods on it.
func (g *ground) evictedOnce(counts *event.Counts, before map[string]bool) {
	g.t.Helper()
	evicted := g.evictedPods()
	for uid := range before {
		if !evicted[uid] {
			g.t.Errorf("pod %s was not evicted", uid)
		}
	}
	if len(before) == 0 || counts.Evicted != len(evicted) || counts.Gone != len(evicted) {
		g.t.Errorf("%d pods were on the nodes and %d were evicted: %+v", len(before), len(evicted), *counts)
	}
}

// statuses watches the status of a budget and returns, when asked, how often it
// showed fewer healthy pods than it needs.
func (g *ground) statuses(name string) (stop func() (seen, broken int)) {
	g.t.Helper()
	stream := must[watch.Interface](g.t)(g.admin.PolicyV1().PodDisruptionBudgets("default").Watch(g.ctx,
		metav1.ListOptions{FieldSelector: "metadata.name=" + name}))
	done := make(chan struct{})
	seen, broken := 0, 0
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			if b, ok := e.Object.(*policyv1.PodDisruptionBudget); ok {
				seen++
				if b.Status.CurrentHealthy < b.Status.DesiredHealthy {
					broken++
				}
			}
		}
	}()
	return func() (int, int) {
		stream.Stop()
		<-done
		return seen, broken
	}
}

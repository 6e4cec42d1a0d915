// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/clock"

	"refit.dev/refit/event"
	"refit.dev/refit/run"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/scenario"
	"refit.dev/refit/twin/twintest"
)

// site is a twin that serves one trial after the other: to begin a cluster anew
// takes longer than a trial.
type site struct {
	twin     *twin.Twin
	admin    kubernetes.Interface
	operator *run.Operator
	machines []corev1.Node // all that there can be, as they were at first
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{twin: twintest.Start(t, twin.Options{
		Nodes: mostNodes, Zones: zones, NodeCPU: fmt.Sprintf("%dm", nodeCPU), Reboot: 200 * time.Millisecond,
	})}
	s.admin = twintest.Client(t, s.twin)
	config, err := clientcmd.BuildConfigFromFlags("", s.twin.MaintainerKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.RealClock{}
	s.operator = &run.Operator{Client: client, Server: config.Host, Store: run.NewStore(t.TempDir(), clk), Sink: event.Discard, Clock: clk}
	list, err := s.admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.machines = list.Items
	return s
}

// set gives the cluster its nodes and the workloads of a trial, and waits until all is well.
func (s *site) set(ctx context.Context, tr *trial) error {
	if err := s.resize(ctx, tr.nodes); err != nil {
		return err
	}
	manifests, err := tr.manifests()
	if err != nil {
		return err
	}
	sc, err := scenario.Parse(tr.namespace(), manifests)
	if err != nil {
		return err
	}
	config, err := s.twin.RESTConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	if err := sc.Apply(ctx, config); err != nil {
		return err
	}
	if err := sc.AwaitReady(ctx, config); err != nil {
		return err
	}
	return s.awaitBudgets(ctx, tr)
}

// resize adds and removes machines until there are n.
func (s *site) resize(ctx context.Context, n int) error {
	nodes := s.admin.CoreV1().Nodes()
	for i := range s.machines {
		m := &s.machines[i]
		if i >= n {
			if err := nodes.Delete(ctx, m.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("remove node %s: %w", m.Name, err)
			}
			continue
		}
		fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: m.Labels, Annotations: m.Annotations}, Spec: *m.Spec.DeepCopy(), Status: *m.Status.DeepCopy()}
		fresh.Spec.Taints = nil
		if _, err := nodes.Create(ctx, fresh, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("add node %s: %w", m.Name, err)
		}
	}
	settled := func(store cache.Store) bool {
		for _, obj := range store.List() {
			if node, ok := obj.(*corev1.Node); !ok || !usable(node) {
				return false
			}
		}
		return len(store.List()) == n
	}
	return s.until(ctx, fmt.Sprintf("there are %d usable nodes", n), s.admin.CoreV1().RESTClient(), "nodes", "", &corev1.Node{}, settled)
}

// usable tells whether new pods may be placed on a node at once.
func usable(node *corev1.Node) bool {
	for _, t := range node.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule {
			return false
		}
	}
	return !node.Spec.Unschedulable && slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// awaitBudgets waits until the disruption controller has counted every pod.
func (s *site) awaitBudgets(ctx context.Context, tr *trial) error {
	replicas := map[string]int{}
	for _, w := range tr.workloads {
		if w.budget != nil {
			replicas[w.name] = w.replicas
		}
	}
	counted := func(store cache.Store) bool {
		for _, obj := range store.List() {
			b, ok := obj.(*policyv1.PodDisruptionBudget)
			if !ok || b.Status.ObservedGeneration < b.Generation || int(b.Status.CurrentHealthy) != replicas[b.Name] {
				return false
			}
		}
		return len(store.List()) == len(replicas)
	}
	return s.until(ctx, "the budgets have counted their pods", s.admin.PolicyV1().RESTClient(), "poddisruptionbudgets",
		tr.namespace(), &policyv1.PodDisruptionBudget{}, counted)
}

// clear takes the workloads of a trial away and waits until their pods are gone.
func (s *site) clear(ctx context.Context, tr *trial) error {
	now := metav1.DeleteOptions{}
	apps := s.admin.AppsV1()
	for _, err := range []error{
		s.admin.PolicyV1().PodDisruptionBudgets(tr.namespace()).DeleteCollection(ctx, now, metav1.ListOptions{}),
		apps.Deployments(tr.namespace()).DeleteCollection(ctx, now, metav1.ListOptions{}),
		apps.StatefulSets(tr.namespace()).DeleteCollection(ctx, now, metav1.ListOptions{}),
	} {
		if err != nil {
			return fmt.Errorf("clear namespace %s: %w", tr.namespace(), err)
		}
	}
	empty := func(store cache.Store) bool { return len(store.List()) == 0 }
	if err := s.until(ctx, "the pods are gone", s.admin.CoreV1().RESTClient(), "pods", tr.namespace(), &corev1.Pod{}, empty); err != nil {
		return err
	}
	return s.admin.CoreV1().Namespaces().Delete(ctx, tr.namespace(), now) // the rest goes when it will
}

// until waits until what there is of a resource is as wanted.
func (s *site) until(ctx context.Context, what string, client cache.Getter, resource, namespace string, of k8sruntime.Object, wanted func(cache.Store) bool) error {
	lw := cache.NewListWatchFromClient(client, resource, namespace, fields.Everything())
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	_, err := watchtools.UntilWithSync(ctx, lw, of, func(synced cache.Store) (bool, error) {
		for _, obj := range synced.List() {
			if err := store.Add(obj); err != nil {
				return false, err
			}
		}
		return wanted(store), nil
	}, func(e watch.Event) (bool, error) {
		var err error
		if e.Type == watch.Deleted {
			err = store.Delete(e.Object)
		} else {
			err = store.Update(e.Object)
		}
		return wanted(store), err
	})
	if err != nil {
		return fmt.Errorf("wait until %s: %w", what, err)
	}
	return nil
}

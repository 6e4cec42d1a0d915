// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// ground is a real control plane. Its tests act with the rights of the twin's
// maintainer, which are those that refit's documentation asks for, and look at
// the outcome with the administrator's.
type ground struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the test, with a deadline
	tw     *twin.Twin
	admin  kubernetes.Interface
	client kubernetes.Interface
	w      *cluster.Watcher

	mu     sync.Mutex
	events []event.Event
	heard  chan struct{}
}

func newGround(t *testing.T, options twin.Options) *ground {
	t.Helper()
	tw := twintest.Start(t, options)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	config, err := clientcmd.BuildConfigFromFlags("", tw.MaintainerKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := cluster.Watch(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return &ground{t: t, ctx: ctx, tw: tw, admin: twintest.Client(t, tw), client: client, w: w, heard: make(chan struct{}, 1)}
}

// on is the same ground for a subtest.
func (g *ground) on(t *testing.T) *ground {
	return &ground{t: t, ctx: g.ctx, tw: g.tw, admin: g.admin, client: g.client, w: g.w, heard: make(chan struct{}, 1)}
}

// Emit makes the ground a Sink.
func (g *ground) Emit(e event.Event) {
	g.mu.Lock()
	g.events = append(g.events, e)
	g.mu.Unlock()
	select {
	case g.heard <- struct{}{}:
	default:
	}
}

// told waits until an event was emitted that is as wanted.
func (g *ground) told(what string, is func(event.Event) bool) event.Event {
	g.t.Helper()
	for {
		g.mu.Lock()
		i := slices.IndexFunc(g.events, is)
		var found event.Event
		if i >= 0 {
			found = g.events[i]
		}
		g.mu.Unlock()
		if i >= 0 {
			return found
		}
		select {
		case <-g.heard:
		case <-g.ctx.Done():
			for _, e := range g.events {
				line, _ := json.Marshal(e)
				g.t.Logf("%s", line)
			}
			g.t.Fatalf("waiting in vain for %s", what)
		}
	}
}

func (g *ground) blocked(cause event.Cause, prefix string) event.Blocker {
	g.t.Helper()
	e := g.told(fmt.Sprintf("%s to be blocked by %s", prefix, cause), func(e event.Event) bool {
		return e.Type == event.PodBlocked && e.Blocker.Cause == cause && strings.HasPrefix(e.Pod.Name, prefix)
	})
	return *e.Blocker
}

func (g *ground) drainer(edit ...func(*Options)) *Drainer {
	o := DefaultOptions()
	for _, e := range edit {
		e(&o)
	}
	return New(g.client, g.w, o, g)
}

// until waits for the cluster, as the watcher sees it, to be as wanted.
func (g *ground) until(what string, is func() bool) {
	g.t.Helper()
	news := g.w.Subscribe()
	defer news.Close()
	for !is() {
		select {
		case <-news.Ready():
			news.Take()
		case <-g.ctx.Done():
			g.t.Fatalf("waiting in vain for %s", what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (g *ground) nodes(names ...string) []*corev1.Node {
	g.t.Helper()
	return must[[]*corev1.Node](g.t)(Resolve(g.ctx, g.client, names, nil))
}

// mark gives nodes to a subtest: its pods ask for the label.
func (g *ground) mark(group string, names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.patchNode(name, map[string]any{"metadata": map[string]any{"labels": map[string]any{"group": group}}})
	}
}

func (g *ground) cordon(unschedulable bool, names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.patchNode(name, map[string]any{"spec": map[string]any{"unschedulable": unschedulable}})
	}
}

func (g *ground) patchNode(name string, patch map[string]any, sub ...string) {
	g.t.Helper()
	data := must[[]byte](g.t)(json.Marshal(patch))
	must[*corev1.Node](g.t)(g.admin.CoreV1().Nodes().Patch(g.ctx, name, types.MergePatchType, data, metav1.PatchOptions{}, sub...))
}

// template is that of pods that only run in a group.
func template(group, app string, annotations map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"group": group},
			Containers:   []corev1.Container{{Name: "app", Image: "example.invalid/app"}},
		},
	}
}

// deploy makes a Deployment of the pods and waits until they are ready.
func (g *ground) deploy(group, app string, replicas int32, annotations map[string]string) {
	g.t.Helper()
	must[*appsv1.Deployment](g.t)(g.admin.AppsV1().Deployments("default").Create(g.ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			Template: template(group, app, annotations),
		},
	}, metav1.CreateOptions{}))
	g.untilReady(app, int(replicas))
}

func (g *ground) untilReady(app string, replicas int) {
	g.t.Helper()
	g.until(fmt.Sprintf("%d pods of %s to be ready", replicas, app), func() bool {
		n := 0
		for _, pod := range g.pods(app) {
			if isReady(pod) {
				n++
			}
		}
		return n == replicas
	})
}

func (g *ground) pods(app string) []*corev1.Pod {
	return g.w.PodsOf(&policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	})
}

func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// remove takes a Deployment, its pods and its budget away.
func (g *ground) remove(app string) {
	g.t.Helper()
	err := errors.Join(
		g.admin.AppsV1().Deployments("default").Delete(g.ctx, app, metav1.DeleteOptions{}),
		g.admin.PolicyV1().PodDisruptionBudgets("default").Delete(g.ctx, app, metav1.DeleteOptions{}))
	if err != nil {
		g.t.Fatal(err)
	}
	g.until("the pods to be gone", func() bool { return len(g.pods(app)) == 0 })
}

// budget makes one and waits until it was looked at.
func (g *ground) budget(app string, maxUnavailable int32) {
	g.t.Helper()
	must[*policyv1.PodDisruptionBudget](g.t)(g.admin.PolicyV1().PodDisruptionBudgets("default").Create(g.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, MaxUnavailable: intOrString(maxUnavailable),
		},
	}, metav1.CreateOptions{}))
	g.until("the budget to be observed", func() bool {
		b := g.w.Budget("default", app)
		return b != nil && b.Status.ObservedGeneration == b.Generation && b.Status.ExpectedPods > 0 && b.Status.CurrentHealthy == b.Status.ExpectedPods
	})
}

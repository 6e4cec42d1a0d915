// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"refit.dev/refit/cluster"
	"refit.dev/refit/event"
	"refit.dev/refit/internal/hint"
	"refit.dev/refit/twin"
	"refit.dev/refit/twin/twintest"
)

// site is a twin, with an operator who has no more rights than the documented ones.
type site struct {
	twin     *twin.Twin
	admin    kubernetes.Interface
	operator *Operator

	mu     sync.Mutex
	events []event.Event
}

func newSite(t *testing.T, opts twin.Options) *site {
	t.Helper()
	s := &site{twin: twintest.Start(t, opts)}
	s.admin = twintest.Client(t, s.twin)
	s.employ(t, s.twin.MaintainerKubeconfig())
	return s
}

// employ has the operator be one with the rights of a kubeconfig.
func (s *site) employ(t *testing.T, kubeconfig string) {
	t.Helper()
	s.operator = operatorFor(t.Fatal, kubeconfig, t.TempDir())
	s.operator.Sink = event.SinkFunc(func(e event.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	})
}

// operatorFor returns an operator with the rights of a kubeconfig.
func operatorFor(fatal func(...any), kubeconfig, state string) *Operator {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fatal(err)
	}
	clk := clock.RealClock{}
	return &Operator{Client: client, Server: config.Host, Store: NewStore(state, clk), Sink: event.Discard, Clock: clk}
}

func (s *site) taken() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func request(names ...string) Request {
	share, _ := ParseShare("2")
	r := Request{
		Names: names, Reboot: true, MaxUnavailable: share,
		Drain: Drain{IgnoreDaemonSets: true}, Timeouts: DefaultTimeouts(),
	}
	for _, d := range []*metav1.Duration{&r.Timeouts.Drain, &r.Timeouts.Ready, &r.Timeouts.Recover, &r.Timeouts.Stall} {
		d.Duration = 5 * time.Minute // a guard against hanging
	}
	return r
}

// maintain runs a Request to its end.
func (s *site) maintain(ctx context.Context, t *testing.T, r Request) Outcome {
	t.Helper()
	p, err := s.operator.Prepare(ctx, r)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, hint.Of(err))
	}
	defer p.Close()
	o, err := p.Run(ctx)
	if err != nil {
		t.Fatalf("%v\nhint: %s", err, hint.Of(err))
	}
	return o
}

func (s *site) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	n, err := s.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *site) names(t *testing.T) []string {
	t.Helper()
	list, err := s.admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}

// patch changes a node behind refit's back.
func (s *site) patch(t *testing.T, name, merge string) {
	t.Helper()
	if _, err := s.admin.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// clean fails if refit left anything on any node, or kept its lock. If the test
// has failed, it tells where the pods are.
func (s *site) clean(t *testing.T, cordoned ...string) {
	t.Helper()
	defer s.explain(t)
	for _, name := range s.names(t) {
		n := s.node(t, name)
		if _, marked := n.Annotations[cluster.CordonAnnotation]; marked || n.Spec.Unschedulable != slices.Contains(cordoned, name) || cluster.TaintedBy(n) != "" {
			t.Errorf("node %s: unschedulable %t, marked %t, tainted by %q", name, n.Spec.Unschedulable, marked, cluster.TaintedBy(n))
		}
	}
	if l, err := s.admin.CoordinationV1().Leases(lockNamespace).Get(t.Context(), lockName, metav1.GetOptions{}); err != nil || ptr.Deref(l.Spec.HolderIdentity, "") != "" {
		t.Errorf("the lock is held by %q, %v", ptr.Deref(l.Spec.HolderIdentity, ""), err)
	}
}

// explain logs where every pod stands if the test has failed.
func (s *site) explain(t *testing.T) {
	if !t.Failed() {
		return
	}
	pods, err := s.admin.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, p := range pods.Items {
		t.Logf("pod %s/%s on %q: %s, deleted %v, finalizers %v, conditions %v", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase, p.DeletionTimestamp, p.Finalizers, p.Status.Conditions)
	}
	budgets, err := s.admin.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, b := range budgets.Items {
		t.Logf("budget %s/%s, generation %d: %+v", b.Namespace, b.Name, b.Generation, b.Status)
	}
}

// killAPIServer ends the API server as a crash does. The twin starts it again.
func (s *site) killAPIServer(t *testing.T) {
	status, err := s.twin.Status(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	for _, part := range status.Parts {
		if part.Name == "kube-apiserver" {
			if err := syscall.Kill(part.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("the twin has no API server")
}

// await waits until the node is as wanted.
func (s *site) await(t *testing.T, name string, wanted func(*corev1.Node) bool) {
	t.Helper()
	ctx := deadline(t)
	list := metav1.SingleObject(metav1.ObjectMeta{Name: name})
	for ctx.Err() == nil {
		if wanted(s.node(t, name)) {
			return
		}
		w, err := s.admin.CoreV1().Nodes().Watch(ctx, list)
		if err != nil {
			t.Fatal(err)
		}
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok && wanted(n) {
				w.Stop()
				return
			}
		}
	}
	t.Fatalf("node %s does not become as wanted", name)
}

// expectEvents looks for the Events that every node has to have.
func (s *site) expectEvents(t *testing.T, names []string) {
	t.Helper()
	list, err := s.admin.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range list.Items {
		found[e.InvolvedObject.Name+" "+e.Reason] = true
	}
	for _, name := range names {
		for _, reason := range []string{reasonCordoned, reasonDrained, reasonMaintained, reasonUncordoned} {
			if !found[name+" "+reason] {
				t.Errorf("node %s has no Event %s", name, reason)
			}
		}
	}
}

func (s *site) remove(t *testing.T, name string) {
	if err := s.admin.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// replace deletes a node and makes another one of its name.
func (s *site) replace(t *testing.T, name string) {
	old, err := s.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	s.remove(t, name)
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: old.Labels}, Status: old.Status}
	fresh.Status.NodeInfo.BootID = fmt.Sprintf("fresh-%s", name)
	if _, err := s.admin.CoreV1().Nodes().Create(t.Context(), fresh, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

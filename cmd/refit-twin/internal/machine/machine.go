// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package machine plays the computers under the simulated kubelets.
package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// controller plays the computers under the simulated kubelets: it reboots the
// ones whose Node asks for another boot ID than it has. All it knows is in the
// Node objects, so it carries on after the supervisor was killed in the middle.
type controller struct {
	Config
	rebootTime time.Duration
	client     kubernetes.Interface
	kubelets   kubernetes.Interface // with the rights of the simulated kubelets
	nodes      corelisters.NodeLister
	queue      workqueue.TypedRateLimitingInterface[string]
	clock      clock.Clock
}

// allowedPoll is how often it is tried whether the role is there.
const allowedPoll = 50 * time.Millisecond

// workers is how many machines change state at the same time, and how many
// leases are renewed.
const workers = 8

// Run runs the machine controller, and renews the nodes' leases, until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	rebootTime, err := time.ParseDuration(cfg.RebootTime)
	if err != nil {
		return fmt.Errorf("reboot time: %w", err)
	}
	leaseDuration, err := time.ParseDuration(cfg.LeaseDuration)
	if err != nil {
		return fmt.Errorf("lease duration: %w", err)
	}
	client, err := newClient(cfg.Kubeconfig)
	if err != nil {
		return err
	}
	kubelets, err := newClient(cfg.KubeletsKubeconfig)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Nodes()
	m := &controller{
		Config:     cfg,
		rebootTime: rebootTime,
		client:     client,
		kubelets:   kubelets,
		nodes:      informer.Lister(),
		queue:      workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
		clock:      clock.RealClock{},
	}
	l := &leases{
		Config:   cfg,
		duration: leaseDuration,
		client:   client,
		nodes:    m.nodes,
		queue:    workqueue.NewTypedDelayingQueue[string](),
		clock:    m.clock,
	}
	_, err = informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { m.changed(l, nil, obj) },
		UpdateFunc: func(old, obj any) { m.changed(l, old, obj) },
	})
	if err != nil {
		return err
	}
	// In a new twin the role that allows this comes a moment after the API
	// server; an informer would be slow to try again.
	for ctx.Err() == nil {
		_, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
		if !apierrors.IsForbidden(err) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(allowedPoll):
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer m.queue.ShutDown()
	defer l.queue.ShutDown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return nil
	}
	slog.Info("machine controller runs", "rebootTime", rebootTime)
	for range workers {
		go m.work(ctx)
		go l.work(ctx)
	}
	<-ctx.Done()
	return nil
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = -1, 0 // no client-side limit, this is our own API server
	return kubernetes.NewForConfig(cfg)
}

// changed hands a node that was added (old is nil) or changed to both controllers.
func (m *controller) changed(l *leases, old, obj any) {
	if node, ok := obj.(*corev1.Node); ok {
		m.queue.Add(node.Name)
		was, _ := old.(*corev1.Node)
		l.changed(was, node)
	}
}

func (m *controller) work(ctx context.Context) {
	for {
		name, quit := m.queue.Get()
		if quit {
			return
		}
		again, err := m.reconcile(ctx, name)
		switch {
		case err != nil && ctx.Err() == nil:
			slog.Warn("machine not brought to its state, will try again", "node", name, "error", err)
			m.queue.AddRateLimited(name)
		case again > 0:
			m.queue.Forget(name)
			m.queue.AddAfter(name, again)
		default:
			m.queue.Forget(name)
		}
		m.queue.Done(name)
	}
}

// reconcile takes the machine of a node one step further. The duration is
// when to look again, 0 for not before the Node changes.
func (m *controller) reconcile(ctx context.Context, name string) (time.Duration, error) {
	node, err := m.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if node.Labels[m.KubeletLabel] == m.Rebooting {
		// The cache may not show yet what was done a moment ago, and containers must
		// not be started twice.
		node, err = m.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
	want := node.Annotations[m.RebootAnnotation]
	rebooting := node.Labels[m.KubeletLabel] == m.Rebooting
	switch {
	case want == "" || want == node.Status.NodeInfo.BootID:
		if rebooting { // it came up, the last step is missing
			return 0, m.startKubelet(ctx, node)
		}
		return m.tend(ctx, node)
	case !rebooting:
		return 0, m.goDown(ctx, node)
	}
	downSince, err := time.Parse(time.RFC3339Nano, node.Annotations[m.DownSinceAnnotation])
	if err != nil {
		return 0, errors.Join(fmt.Errorf("annotation %s: %w", m.DownSinceAnnotation, err), m.goDown(ctx, node))
	}
	if err := m.postDown(ctx, node); err != nil {
		return 0, err
	}
	wait := m.rebootTime
	if v := node.Annotations[m.RebootTimeAnnotation]; v == "never" {
		return 0, nil
	} else if v != "" {
		if wait, err = time.ParseDuration(v); err != nil {
			slog.Warn("annotation is no duration, using the twin's default", "node", name, "annotation", m.RebootTimeAnnotation, "value", v)
			wait = m.rebootTime
		}
	}
	if left := downSince.Add(wait).Sub(m.clock.Now()); left > 0 {
		return left, nil
	}
	return 0, m.comeUp(ctx, node, want, downSince)
}

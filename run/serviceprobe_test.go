// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"refit.dev/refit/event"
	"refit.dev/refit/host"
	"refit.dev/refit/host/hosttest"
)

// dials records from which nodes a Service was asked.
type dials struct {
	mu     sync.Mutex
	from   []string
	news   chan struct{} // a request was sent; nil: nobody waits for that
	answer func(node string) error
}

// serve is a Service that every request is answered by, unless answer says otherwise.
func (d *dials) serve(t *testing.T) func(context.Context, *corev1.Node, string) (net.Conn, error) {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return func(ctx context.Context, node *corev1.Node, _ string) (net.Conn, error) {
		d.mu.Lock()
		d.from = append(d.from, node.Name)
		d.mu.Unlock()
		select {
		case d.news <- struct{}{}:
		default:
		}
		if d.answer != nil {
			if err := d.answer(node.Name); err != nil {
				return nil, err
			}
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
}

func (d *dials) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.from)
}

// probing is a run of a control plane and two workers that asks a Service.
func probing(t *testing.T, d *dials) (*trial, *fakeFleet) {
	t.Helper()
	c := newFakeCluster(t, "a", "b", "c")
	spec := upgradeSpec("a", "b", "c")
	spec.Upgrade.Probes = []ServiceProbe{{Namespace: "shop", Name: "web", Address: "10.96.0.10:80"}}
	tr, f := upgradeTrial(t, c, spec)
	u := tr.upgrading(f)
	u.dial = d.serve(t)
	tr.work = u
	return tr, f
}

// A Service is asked from a worker that is not in its turn, and what came of it is told.
func TestProbeService(t *testing.T) {
	d := &dials{news: make(chan struct{})}
	tr, f := probing(t, d)
	ctx := deadline(t)
	f.fail = func(node string, s Step, before bool) error {
		if s != "kubelet" || !before {
			return nil
		}
		for range 3 { // the first may have been on its way
			select {
			case <-d.news:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if all := d.asked(); all[len(all)-1] == node {
			t.Errorf("in the turn of %s it was asked from there", node)
		}
		return nil
	}
	if o := tr.run(ctx); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	from := d.asked()
	if from[0] != "b" || !slices.Contains(from, "c") || slices.Contains(from, "a") {
		t.Errorf("asked from %v", from)
	}
	if s := tr.last(t).Message; !strings.Contains(s, "service shop/web answered all of ") {
		t.Errorf("the summary says %q", s)
	}
}

// What is not answered is counted and told; machines that cannot be asked from are not the
// Service's fault.
func TestProbeServiceFails(t *testing.T) {
	var failing atomic.Bool
	d := &dials{answer: func(node string) error {
		switch {
		case node == "b":
			return host.ErrNoForwarding
		case node == "c":
			return hosttest.ErrLost
		case failing.Load():
			return errors.New("connection refused")
		}
		return nil
	}}
	tr, f := probing(t, d)
	ctx := deadline(t)
	f.fail = func(node string, s Step, before bool) error {
		if s != "kubelet" || !before || node != "b" {
			return nil
		}
		failing.Store(true)
		tr.awaitEvent(ctx, func(e event.Event) bool { return e.Type == event.ServiceLost })
		failing.Store(false)
		tr.awaitEvent(ctx, func(e event.Event) bool { return e.Type == event.ServiceBack })
		return nil
	}
	if o := tr.run(ctx); o.Result != event.ResultDone {
		t.Fatalf("%+v", o)
	}
	if !tr.warned("cannot be asked from here") {
		t.Error("it was not told that a machine forwards nothing")
	}
	if s := tr.last(t).Message; !strings.Contains(s, "service shop/web did not answer 1 of ") {
		t.Errorf("the summary says %q", s)
	}
}

func TestFindServices(t *testing.T) {
	service := func(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	o := &Operator{Client: fake.NewClientset(
		service("web", "10.96.0.10", corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolTCP}, corev1.ServicePort{Name: "admin", Port: 8080}),
		service("headless", corev1.ClusterIPNone, corev1.ServicePort{Port: 80}),
		service("six", "fd00::1", corev1.ServicePort{Port: 80}))}
	for text, want := range map[string]string{
		"shop/web": "10.96.0.10:80", "shop/web:8080": "10.96.0.10:8080", "shop/web:admin": "10.96.0.10:8080", "shop/six": "[fd00::1]:80",
	} {
		found, err := o.findServices(t.Context(), []string{text})
		if err != nil || len(found) != 1 || found[0].Address != want {
			t.Errorf("%s: %v, %v", text, found, err)
		}
	}
	for text, want := range map[string]string{
		"web": "want NAMESPACE/NAME", "shop/": "want NAMESPACE/NAME", "shop/web/x": "want NAMESPACE/NAME", "shop/gone": "there is no such Service",
		"shop/headless": "no ClusterIP", "shop/web:53": "no port 53 of TCP, but 80, 8080",
	} {
		_, err := o.findServices(t.Context(), []string{text})
		if _, input := errors.AsType[*InputError](err); !input || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
